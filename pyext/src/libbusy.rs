//! The libbusy of this installation, which is opened at the first use. It carries the GIL meter, so that everything in
//! the process that opens this file shares one meter.
//!
//! The cell is not one of PyO3's: those may wait for the GIL while another thread fills them, and in a child that is
//! forked in that moment, they wait for ever. Here the thread that opens the library holds the GIL, and if two of them
//! open it, one drops its result.

#![allow(unsafe_code, reason = "a pointer to a value that is never freed, and dladdr(3)")]

use busy_loader::bindings::Bindings;
use busy_loader::{open, soname};
use std::env;
use std::path::PathBuf;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, Ordering};

/// The environment variable with the folder of libbusy, as for the command.
const VARIABLE: &str = "BUSY_LIBDIR";

static OPENED: AtomicPtr<Bindings> = AtomicPtr::new(null_mut());

/// Returns libbusy.
///
/// # Errors
/// The reason why it can't be opened: the file, what was found, and what to do.
pub fn libbusy() -> Result<&'static Bindings, String> {
    let mut opened = OPENED.load(Ordering::Acquire);
    if opened.is_null() {
        let bindings = open(&path()?).map_err(|error| error.to_string())?;
        let ours = Box::into_raw(Box::new(bindings));
        opened = match OPENED.compare_exchange(null_mut(), ours, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => ours,
            Err(first) => {
                // SAFETY: the box of above, which no one else has seen.
                drop(unsafe { Box::from_raw(ours) });
                first
            }
        };
    }
    // SAFETY: a box that is never freed.
    Ok(unsafe { &*opened })
}

/// Returns libbusy if it has been opened.
pub fn libbusy_if_open() -> Option<&'static Bindings> {
    // SAFETY: null, or a box that is never freed.
    unsafe { OPENED.load(Ordering::Acquire).as_ref() }
}

/// Returns the file: in the folder that BUSY_LIBDIR names, or else in the folder `_lib` beside this module.
fn path() -> Result<PathBuf, String> {
    if let Some(folder) = env::var_os(VARIABLE) {
        let folder = PathBuf::from(folder);
        // Cargo builds the library without the version in its name.
        let files = [folder.join(soname()), folder.join("libbusy.so")];
        let found = files.iter().find(|file| file.is_file());
        let missing =
            || format!("{} not found: set {VARIABLE} to the folder of libbusy, or unset it", files[0].display());
        return found.cloned().ok_or_else(missing);
    }
    let module = own_file().ok_or("the file of busy._busy is unknown: set BUSY_LIBDIR to the folder of libbusy")?;
    Ok(module.with_file_name("_lib").join(soname()))
}

/// Returns the file of this module, by dladdr(3).
#[cfg(unix)]
fn own_file() -> Option<PathBuf> {
    use std::ffi::{CStr, OsStr};
    use std::os::unix::ffi::OsStrExt;
    // SAFETY: dladdr(3) writes only to the struct; the name belongs to this module, which stays loaded.
    unsafe {
        let mut info: libc::Dl_info = std::mem::zeroed();
        let found = libc::dladdr(libbusy as *const () as *const libc::c_void, &raw mut info) != 0;
        (found && !info.dli_fname.is_null())
            .then(|| OsStr::from_bytes(CStr::from_ptr(info.dli_fname).to_bytes()).into())
    }
}

#[cfg(not(unix))]
fn own_file() -> Option<PathBuf> {
    None
}
