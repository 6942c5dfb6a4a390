//! The user's folders, for cached files and for results.

use directories::ProjectDirs;
use std::path::PathBuf;

/// Returns the folder for files that can be created again: texts, packages, compiled modules.
pub fn cache() -> Option<PathBuf> {
    project().map(|project| project.cache_dir().to_path_buf())
}

/// Returns the folder into which `make interpreters` (interpreters/debian.sh) installs interpreters, each into its own
/// folder.
pub fn interpreters() -> Option<PathBuf> {
    cache().map(|cache| cache.join("interpreters"))
}

/// Returns the folder with the results of earlier runs.
pub fn runs() -> Option<PathBuf> {
    project().and_then(|project| Some(project.state_dir()?.join("runs")))
}

/// Returns the folder with the results of earlier runs on several hosts. They can't be resumed.
pub fn runs_on_hosts() -> Option<PathBuf> {
    runs().map(|folder| folder.join("hosts"))
}

fn project() -> Option<ProjectDirs> {
    ProjectDirs::from("", "", "busy")
}
