//! The environment variables that make the Pythons of a program log what their threads do with the GIL.

use crate::provision::installation::RECORD_LIBRARY;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// The variable that names the folder to the recorded processes (record/src/lib.rs).
pub const FOLDER: &str = "BUSY_RECORD_FOLDER";
/// The variable that names the libbusy which meters the recorded processes.
pub const LIBBUSY: &str = "BUSY_RECORD_LIBBUSY";
/// The variable by which the dynamic linker loads the library (ld.so(8)).
pub const PRELOAD: &str = "LD_PRELOAD";

/// Returns the value of LD_PRELOAD: `library`, before what it contains already. A path with a blank or a colon can't stand
/// there (ld.so(8)): then a link in `folder` stands for it.
pub fn preload(library: &Path, folder: &Path) -> OsString {
    let mut path = library.to_path_buf();
    if path.as_os_str().as_bytes().iter().any(|byte| b" :".contains(byte)) {
        let link = folder.join(RECORD_LIBRARY);
        if std::os::unix::fs::symlink(&path, &link).is_ok() {
            path = link;
        }
    }
    let mut value = path.into_os_string();
    if let Some(earlier) = std::env::var_os(PRELOAD).filter(|earlier| !earlier.is_empty()) {
        value.push(":");
        value.push(earlier);
    }
    value
}
