//! Where the command finds what it was installed with, and where it keeps what it makes.

use crate::loader::soname;
use directories::ProjectDirs;
use std::env;
use std::path::{Path, PathBuf};

/// Names the one folder to look in, instead of the installed ones.
const VARIABLE: &str = "BUSY_LIBDIR";

/// Something that belongs to the installation and was not found.
#[derive(Debug, thiserror::Error)]
#[error("{what} is in none of {}; install busy whole (`make install`) or name its folder by {VARIABLE}", list(.looked_in))]
pub struct NotInstalled {
    what: &'static str,
    looked_in: Vec<PathBuf>,
}

/// The libbusy that child interpreters load.
///
/// # Errors
/// It is in none of the folders.
pub fn libbusy() -> Result<PathBuf, NotInstalled> {
    // Cargo leaves out the version.
    let names = [soname(), "libbusy.so".into()];
    find("libbusy.so", |folder| names.iter().map(|name| folder.join(name)).find(|file| file.is_file()))
}

/// The folder from which `import busy` finds the Python module.
///
/// # Errors
/// It is in none of the folders.
pub fn python_module() -> Result<PathBuf, NotInstalled> {
    find("the Python module `busy`", |folder| {
        let path = folder.join("python");
        path.join("busy/__init__.py").is_file().then_some(path)
    })
}

/// What is compiled for an interpreter at first use.
pub fn cache() -> Option<PathBuf> {
    project().map(|project| project.cache_dir().to_path_buf())
}

/// What `make interpreters` brings (interpreters/debian.sh), each in a folder of its own.
pub fn interpreters() -> Option<PathBuf> {
    cache().map(|cache| cache.join("interpreters"))
}

/// The results of earlier runs.
pub fn runs() -> Option<PathBuf> {
    project().and_then(|project| Some(project.state_dir()?.join("runs")))
}

fn project() -> Option<ProjectDirs> {
    ProjectDirs::from("", "", "busy")
}

fn find(what: &'static str, look: impl Fn(&Path) -> Option<PathBuf>) -> Result<PathBuf, NotInstalled> {
    let folders = folders();
    // Absolute, since children run elsewhere.
    let found = folders.iter().find_map(|folder| look(folder)).and_then(|path| path.canonicalize().ok());
    found.ok_or(NotInstalled { what, looked_in: folders })
}

/// The folders in which the parts of an installation lie: beside the executable (a build), or under its prefix.
fn folders() -> Vec<PathBuf> {
    if let Some(folder) = env::var_os(VARIABLE) {
        return vec![folder.into()];
    }
    let Ok(executable) = env::current_exe() else { return Vec::new() };
    let Some(own) = executable.parent() else { return Vec::new() };
    let mut folders = vec![own.to_path_buf()];
    folders.extend(own.parent().into_iter().flat_map(|prefix| [prefix.join("lib/busy"), prefix.join("lib")]));
    folders
}

fn list(folders: &[PathBuf]) -> String {
    folders.iter().map(|folder| folder.display().to_string()).collect::<Vec<_>>().join(", ")
}
