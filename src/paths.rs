//! The user's folders: what is cached, and what is kept.

use directories::ProjectDirs;
use std::path::PathBuf;

/// Returns the folder for what can be made again: texts, packages, compiled modules.
pub fn cache() -> Option<PathBuf> {
    project().map(|project| project.cache_dir().to_path_buf())
}

/// Returns the folder in which `make interpreters` (interpreters/debian.sh) puts each interpreter in a folder of its own.
pub fn interpreters() -> Option<PathBuf> {
    cache().map(|cache| cache.join("interpreters"))
}

/// Returns the folder with the results of earlier runs.
pub fn runs() -> Option<PathBuf> {
    project().and_then(|project| Some(project.state_dir()?.join("runs")))
}

fn project() -> Option<ProjectDirs> {
    ProjectDirs::from("", "", "busy")
}
