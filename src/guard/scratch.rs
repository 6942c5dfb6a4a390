//! The folder for a guarded program's temporary files, its TMPDIR: gone with the program, also where that is killed.
//! The lab names it, the shim makes it, and whoever ends the program removes it.

use std::ffi::{OsStr, OsString};
use std::fs::{DirBuilder, remove_dir_all};
use std::os::unix::fs::DirBuilderExt;
use std::sync::atomic::{AtomicU32, Ordering};

/// The variable that names it (environ(7)).
pub const VARIABLE: &str = "TMPDIR";

/// A name that no living process uses. Short: sockets are made in there, whose paths must not exceed 108 bytes (unix(7)).
pub fn name() -> OsString {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    std::env::temp_dir().join(format!("busy-{}-{number}", std::process::id())).into()
}

/// Makes the folder, and says whether it could. The program of a user who has no such place runs without.
pub fn make(folder: &OsStr) -> bool {
    // What an earlier process of this number may have left.
    remove(folder);
    DirBuilder::new().mode(0o700).create(folder).is_ok()
}

/// Removes it with all that is in it.
pub fn remove(folder: &OsStr) {
    let _ = remove_dir_all(folder);
}
