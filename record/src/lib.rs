//! The library that `busy record` loads into each process of a program (LD_PRELOAD, ld.so(8)). If the process is a Python,
//! it loads libbusy, which starts the GIL meter and logs its events (`ffi/src/record.rs`). In any other process, and
//! without a recording, it does nothing.
//!
//! It has no header and promises nothing: the command of the same release is its only user.

#![allow(unsafe_code, reason = "runs before the program's main function, and opens a library")]
#![cfg(all(target_os = "linux", target_env = "gnu", target_arch = "x86_64"))]

use busy_gil::log::mark_executed;
use std::env::var_os;
use std::ffi::{CString, OsString, c_char};
use std::os::unix::ffi::OsStringExt;
use std::panic::catch_unwind;
use std::path::Path;

/// The environment variable that names the folder of the recording.
const FOLDER: &str = "BUSY_RECORD_FOLDER";
/// The environment variable that names the libbusy which meters the process.
const LIBBUSY: &str = "BUSY_RECORD_LIBBUSY";

/// Runs when the library is loaded (System V ABI, "Initialization and Termination Functions").
#[used]
#[unsafe(link_section = ".init_array")]
static LOADED: extern "C" fn() = loaded;

extern "C" fn loaded() {
    // A panic must not reach the dynamic linker. Its message goes to stderr.
    _ = catch_unwind(|| {
        if let (Some(folder), Some(libbusy)) = (var_os(FOLDER), var_os(LIBBUSY)) {
            begin(folder, libbusy);
        }
    });
}

/// Begins the recording of this process, and returns None if there is nothing to record.
fn begin(folder: OsString, libbusy: OsString) -> Option<()> {
    // If the folder is gone, the recording has ended before this process began.
    if !Path::new(&folder).is_dir() {
        return None;
    }
    // SAFETY: dlsym(3) gets a text that ends with NUL.
    if unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"PyEval_SaveThread".as_ptr()) }.is_null() {
        // If this program was executed by a recorded process, that one's log ends here.
        _ = mark_executed(Path::new(&folder));
        return None;
    }
    let (folder, libbusy) = (CString::new(folder.into_vec()).ok()?, CString::new(libbusy.into_vec()).ok()?);
    // SAFETY: dlopen(3) and dlsym(3) get texts that end with NUL. Libbusy's initialiser only sets a panic hook, and its
    // function has this type (`ffi/src/record.rs`). RTLD_LOCAL: the program gets none of its symbols.
    unsafe {
        let library = libc::dlopen(libbusy.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL);
        if library.is_null() {
            return None;
        }
        let function = libc::dlsym(library, c"busy_record_begin".as_ptr());
        if !function.is_null() {
            std::mem::transmute::<*mut libc::c_void, unsafe extern "C" fn(*const c_char)>(function)(folder.as_ptr());
        }
    }
    Some(())
}
