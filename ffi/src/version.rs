use crate::abi::{BUSY_ABI_MAJOR, BUSY_ABI_MINOR};
use std::ffi::c_char;

/// The ABI of the library that was loaded, as `major << 16 | minor`. Ask it before any other call when the library
/// was found at run time, and hold it against the header by BUSY_ABI_COMPATIBLE().
///
/// Blocking: no. Threads, signals: safe from any thread and from a signal handler. Errors: none.
#[unsafe(no_mangle)]
pub extern "C" fn busy_abi_version() -> u32 {
    BUSY_ABI_MAJOR << 16 | BUSY_ABI_MINOR
}

/// The release of the library that was loaded, such as "0.1.0". For people; programs ask busy_abi_version().
///
/// Ownership: static text, never freed. NULL: never returned. Blocking: no. Threads, signals: safe from any thread
/// and from a signal handler.
#[unsafe(no_mangle)]
pub extern "C" fn busy_version() -> *const c_char {
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()
}
