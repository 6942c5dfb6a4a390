use crate::abi::{BUSY_ABI_MAJOR, BUSY_ABI_MINOR};
use std::ffi::c_char;

/// Returns the ABI version of the loaded library, as `major << 16 | minor`. A program that opens the library at run
/// time calls this function before any other and checks the returned version with BUSY_ABI_COMPATIBLE().
///
/// Blocking: no.
/// Threads: any number of threads may call it at the same time.
/// Signals: a signal handler may call it.
/// Errors: none.
#[unsafe(no_mangle)]
pub extern "C" fn busy_abi_version() -> u32 {
    BUSY_ABI_MAJOR << 16 | BUSY_ABI_MINOR
}

/// Returns the package version of the loaded library as text, such as "0.1.0". The text is for people; programs check
/// busy_abi_version().
///
/// Ownership: the text is static; do not free it.
/// NULL: never returned.
/// Blocking: no.
/// Threads: any number of threads may call it at the same time.
/// Signals: a signal handler may call it.
/// Errors: none.
#[unsafe(no_mangle)]
pub extern "C" fn busy_version() -> *const c_char {
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()
}
