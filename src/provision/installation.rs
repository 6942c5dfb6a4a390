//! The parts of busy's installation that child interpreters load: libbusy and the Python module.

use busy_loader::soname;
use std::path::{Path, PathBuf};
use std::{env, fs};

/// The environment variable with the only folder to search, instead of the installed folders.
const VARIABLE: &str = "BUSY_LIBDIR";

/// A part of the installation that was not found.
#[derive(Debug, thiserror::Error)]
#[error("{part} not found in {}: install all of busy (the wheel of busy-gil, or `make install`), or set {VARIABLE} to its folder", list(.searched))]
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
    let folders = folders().into_iter().chain(packages().into_iter().map(|folder| folder.join("busy/_lib")));
    find("libbusy.so", folders, |folder| names.iter().map(|name| folder.join(name)).find(|file| file.is_file()))
}

/// Returns the folder from which `import busy` finds the Python module.
///
/// # Errors
/// None of the folders contains it.
pub fn python_module() -> Result<PathBuf, NotInstalled> {
    let folders = folders().into_iter().map(|folder| folder.join("python")).chain(packages());
    find("the Python module `busy`", folders, |folder| folder.join("busy/_lib").is_dir().then(|| folder.to_path_buf()))
}

/// The name of the library that `busy record` preloads.
pub const RECORD_LIBRARY: &str = "libbusy_record.so";

/// Returns the library that `busy record` preloads.
///
/// # Errors
/// None of the folders contains it.
pub fn record_library() -> Result<PathBuf, NotInstalled> {
    let folders = folders().into_iter().chain(packages().into_iter().map(|folder| folder.join("busy/_lib")));
    find(RECORD_LIBRARY, folders, |folder| Some(folder.join(RECORD_LIBRARY)).filter(|file| file.is_file()))
}

fn find(
    part: &'static str,
    folders: impl Iterator<Item = PathBuf>,
    find_in: impl Fn(&Path) -> Option<PathBuf>,
) -> Result<PathBuf, NotInstalled> {
    let folders: Vec<PathBuf> = folders.collect();
    // The path must be absolute, since children run in other folders.
    let found = folders.iter().find_map(|folder| find_in(folder)).and_then(|path| path.canonicalize().ok());
    found.ok_or(NotInstalled { part, searched: folders })
}

/// Returns the folders of `make install` and of the build: under the executable's prefix, and beside the executable.
fn folders() -> Vec<PathBuf> {
    if let Some(folder) = env::var_os(VARIABLE) {
        return vec![folder.into()];
    }
    let Some(own) = own_folder() else { return Vec::new() };
    let prefix = own.parent().map(Path::to_path_buf);
    let below = prefix.into_iter().flat_map(|prefix| [prefix.join("lib/busy"), prefix.join("lib")]);
    [own].into_iter().chain(below).collect()
}

/// Returns the folders into which pip installs packages, if it has installed the executable: those of the environment, and
/// with `pip install --target`, the folder itself.
fn packages() -> Vec<PathBuf> {
    let prefix = own_folder().and_then(|own| own.parent().map(Path::to_path_buf));
    let Some(prefix) = prefix.filter(|_| env::var_os(VARIABLE).is_none()) else { return Vec::new() };
    let libraries = ["lib", "lib64"].map(|name| fs::read_dir(prefix.join(name)));
    let pythons = libraries
        .into_iter()
        .flatten()
        .flatten()
        .flatten()
        .filter(|entry| entry.file_name().to_str().is_some_and(|name| name.starts_with("python3")));
    let mut folders: Vec<_> = pythons
        .flat_map(|python| ["site-packages", "dist-packages"].map(|name| python.path().join(name)))
        .filter(|folder| folder.join("busy").is_dir())
        .collect();
    // Two Pythons of one prefix, as with `pip install --user`, may have different releases.
    let own = concat!("busy_gil-", env!("CARGO_PKG_VERSION"), ".dist-info");
    folders.sort_by_key(|folder| (!folder.join(own).is_dir(), folder.clone()));
    folders.push(prefix);
    folders
}

/// Returns the Python of the environment into which pip installed the executable, if it did.
pub fn python() -> Option<PathBuf> {
    own_folder().map(|own| own.join("python")).filter(|path| path.is_file())
}

/// Returns the folder of the executable, without symbolic links.
fn own_folder() -> Option<PathBuf> {
    env::current_exe().ok()?.parent().map(Path::to_path_buf)
}

fn list(folders: &[PathBuf]) -> String {
    folders.iter().map(|folder| folder.display().to_string()).collect::<Vec<_>>().join(", ")
}
