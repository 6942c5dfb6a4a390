//! The parts of busy's installation that child interpreters load: libbusy and the Python module.

use busy_loader::soname;
use std::env;
use std::path::{Path, PathBuf};

/// The environment variable with the only folder to search, instead of the installed folders.
const VARIABLE: &str = "BUSY_LIBDIR";

/// A part of the installation that was not found.
#[derive(Debug, thiserror::Error)]
#[error("{part} not found in {}: install all of busy (`make install`), or set {VARIABLE} to its folder", list(.searched))]
pub struct NotInstalled {
    part: &'static str,
    searched: Vec<PathBuf>,
}

/// Returns the libbusy that child interpreters load.
///
/// # Errors
/// None of the folders contains it.
pub fn libbusy() -> Result<PathBuf, NotInstalled> {
    // Cargo builds the library without the version in its name.
    let names = [soname(), "libbusy.so".into()];
    find("libbusy.so", |folder| names.iter().map(|name| folder.join(name)).find(|file| file.is_file()))
}

/// Returns the folder from which `import busy` finds the Python module.
///
/// # Errors
/// None of the folders contains it.
pub fn python_module() -> Result<PathBuf, NotInstalled> {
    find("the Python module `busy`", |folder| {
        let path = folder.join("python");
        path.join("busy/__init__.py").is_file().then_some(path)
    })
}

fn find(part: &'static str, find_in: impl Fn(&Path) -> Option<PathBuf>) -> Result<PathBuf, NotInstalled> {
    let folders = folders();
    // The path must be absolute, since children run in other folders.
    let found = folders.iter().find_map(|folder| find_in(folder)).and_then(|path| path.canonicalize().ok());
    found.ok_or(NotInstalled { part, searched: folders })
}

/// Returns the folders of an installation: beside the executable (in a build), or under its prefix.
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
