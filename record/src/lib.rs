//! The library that `busy record` loads into each process of a program (LD_PRELOAD, ld.so(8)). If the process is a Python,
//! it starts the GIL meter, whose events go to a log in the folder of the recording (`busy_gil::log`). In any other
//! process, and without a recording, it does nothing.
//!
//! It has no header and promises nothing: the command of the same release is its only user. It exports one name, by which
//! libbusy recognises it (`ffi/src/gil_copy.rs`).

#![allow(unsafe_code, reason = "runs before the program's main function, and is called by CPython")]
#![cfg(all(target_os = "linux", target_env = "gnu", target_arch = "x86_64"))]

use busy_gil::log::{Writer, mark_executed};
use busy_gil::{Meter, on_python};
use std::ffi::{OsString, c_int, c_void};
use std::panic::catch_unwind;
use std::path::PathBuf;

/// The environment variable that names the folder of the recording.
const FOLDER: &str = "BUSY_RECORD_FOLDER";

static LOG: Writer = Writer::new();

/// The mark by which libbusy recognises this library as the one whose meter is running.
#[unsafe(no_mangle)]
pub static busy_record_meters: c_int = 1;

/// Runs when the library is loaded (System V ABI, "Initialization and Termination Functions").
#[used]
#[unsafe(link_section = ".init_array")]
static LOADED: extern "C" fn() = loaded;

extern "C" fn loaded() {
    // A panic must not reach the dynamic linker. Its message goes to stderr.
    _ = catch_unwind(|| {
        if let Some(folder) = std::env::var_os(FOLDER) {
            begin(folder);
        }
    });
}

fn begin(folder: OsString) {
    let folder = PathBuf::from(folder);
    // If the folder is gone, the recording has ended before this process began.
    if !folder.is_dir() {
        return;
    }
    // If this program was executed by a recorded process, that one's log ends here.
    _ = mark_executed(&folder);
    let arrival = on_python(start);
    if matches!(arrival, Ok(None)) {
        return;
    }
    let version = arrival.as_ref().ok().and_then(|version| version.as_deref()).unwrap_or_default();
    if LOG.open(&folder, version).is_err() {
        // The recorder finds an empty log.
        return;
    }
    // SAFETY: the function stays mapped, since the library is never unloaded.
    unsafe { libc::atexit(finished) };
    if let Err(refusal) = arrival {
        LOG.refuse(&refusal);
    }
}

extern "C" fn finished() {
    _ = catch_unwind(|| LOG.finish());
}

/// Starts the meter. CPython's main thread calls it, with the GIL, when it first evaluates code.
unsafe extern "C" fn start(_: *mut c_void) -> c_int {
    _ = catch_unwind(|| {
        if !LOG.is_open() {
            return;
        }
        let is_libbusy = |address: usize| {
            // SAFETY: dladdr(3) writes only to the struct; the names belong to objects that are loaded.
            unsafe {
                let mut info: libc::Dl_info = std::mem::zeroed();
                if libc::dladdr(address as *const c_void, &raw mut info) == 0 || info.dli_fname.is_null() {
                    return false;
                }
                let object = libc::dlopen(info.dli_fname, libc::RTLD_LAZY | libc::RTLD_NOLOAD);
                !object.is_null() && !libc::dlsym(object, c"busy_gil_start".as_ptr()).is_null()
            }
        };
        match Meter::start_with_sink(&is_libbusy, &LOG) {
            // The metering ends with the process.
            Ok(meter) => std::mem::forget(meter),
            Err(refusal) => LOG.refuse(&refusal),
        }
    });
    0
}
