use crate::abi::{BUSY_ABI_MAJOR, BUSY_ABI_MINOR};
use std::ffi::c_char;

/// The package version of this header: BUSY_VERSION_MAJOR.BUSY_VERSION_MINOR.BUSY_VERSION_PATCH. It is for people and for
/// the preprocessor; BUSY_ABI_COMPATIBLE() checks whether a loaded library fits.
pub const BUSY_VERSION_MAJOR: u32 = 0;
/// See BUSY_VERSION_MAJOR.
pub const BUSY_VERSION_MINOR: u32 = 1;
/// See BUSY_VERSION_MAJOR.
pub const BUSY_VERSION_PATCH: u32 = 0;

const _: () = assert!(
    number(env!("CARGO_PKG_VERSION_MAJOR")) == BUSY_VERSION_MAJOR
        && number(env!("CARGO_PKG_VERSION_MINOR")) == BUSY_VERSION_MINOR
        && number(env!("CARGO_PKG_VERSION_PATCH")) == BUSY_VERSION_PATCH,
    "the header states another version than Cargo.toml"
);

const fn number(text: &str) -> u32 {
    let (digits, mut index, mut number) = (text.as_bytes(), 0, 0);
    while index < digits.len() {
        number = 10 * number + (digits[index] - b'0') as u32;
        index += 1;
    }
    number
}

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
