//! The folder for a supervised program's temporary files, its TMPDIR. It is removed with the program, even if that is killed.
//! The lab names it, the reaper creates it, and the process that ends the program removes it.

use std::ffi::{OsStr, OsString};
use std::fs::{DirBuilder, remove_dir_all};
use std::os::unix::fs::DirBuilderExt;
use std::sync::atomic::{AtomicU32, Ordering};

/// The environment variable that names it (environ(7)).
pub const VARIABLE: &str = "TMPDIR";

/// Returns a name that no living process uses. It is short, since programs create sockets in the folder, whose paths must
/// not exceed 108 bytes (unix(7)).
pub fn name() -> OsString {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    std::env::temp_dir().join(format!("busy-{}-{number}", std::process::id())).into()
}

/// Creates the folder. Returns false if that fails; then the program runs without it.
pub fn make(folder: &OsStr) -> bool {
    // An earlier process with the same id may have left one.
    remove(folder);
    DirBuilder::new().mode(0o700).create(folder).is_ok()
}

/// Removes the folder and everything in it.
pub fn remove(folder: &OsStr) {
    let _ = remove_dir_all(folder);
}
