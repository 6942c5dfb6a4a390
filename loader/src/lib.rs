//! Opens libbusy at run time, as a C program would with dlopen(3), and checks its ABI version before any other call. The
//! lab and the Python module use it.
//!
//! [`bindings`] is generated from busy.h and busy_gil.h by bindgen, so a program that uses it also compares the library
//! with the headers.

#![allow(unsafe_code, reason = "calls through a C ABI")]

#[allow(missing_docs, non_camel_case_types, dead_code, clippy::all, clippy::undocumented_unsafe_blocks)]
pub mod bindings;

use bindings::Bindings;
use std::path::{Path, PathBuf};

/// The ABI that this loader was generated for, in the form of busy_abi_version().
pub const ABI_VERSION: u32 = bindings::BUSY_ABI_MAJOR << 16 | bindings::BUSY_ABI_MINOR;

/// Returns the soname, which is the name by which programs request this library from the dynamic linker.
pub fn soname() -> String {
    format!("libbusy.so.{}", bindings::BUSY_ABI_MAJOR)
}

/// The reason why a file is not the expected libbusy.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The dynamic linker refused the file: it is missing, is not a shared library, or is for another machine.
    #[error(
        "can't load {path}: {reason}; install the libbusy of this release (`make install`), or set BUSY_LIBDIR to its folder"
    )]
    Unloadable {
        /// The file.
        path: PathBuf,
        /// The linker's message.
        reason: String,
    },
    /// The file has no function busy_abi_version.
    #[error("{path} is a shared library but not libbusy: it has no busy_abi_version")]
    NotLibbusy {
        /// The file.
        path: PathBuf,
    },
    /// The ABI of the library is older, or has another major version.
    #[error(
        "{path} has ABI {}.{}, this program needs {}.{} or a later {2}.x: install the libbusy of this release",
        found >> 16, found & 0xffff, ABI_VERSION >> 16, ABI_VERSION & 0xffff
    )]
    Incompatible {
        /// The file.
        path: PathBuf,
        /// The return value of its busy_abi_version().
        found: u32,
    },
    /// The library reports the ABI but lacks one of its functions.
    #[error("{path} reports ABI {}.{} but lacks a function of it: {reason}", ABI_VERSION >> 16, ABI_VERSION & 0xffff)]
    MissingSymbol {
        /// The file.
        path: PathBuf,
        /// The linker's message, which names the function.
        reason: String,
    },
}

/// Opens the library at `path` and checks its ABI version. It is unloaded when the result is dropped.
///
/// # Errors
/// The first check that fails.
pub fn open(path: &Path) -> Result<Bindings, OpenError> {
    let path = path.to_path_buf();
    // SAFETY: loading runs the initialisers of the file, which the user or the installation has chosen.
    let library = match unsafe { libloading::Library::new(&path) } {
        Ok(library) => library,
        Err(error) => return Err(OpenError::Unloadable { path, reason: message(&error) }),
    };
    // SAFETY: busy_abi_version has had this type in every version of the header.
    let found = match unsafe { library.get::<unsafe extern "C" fn() -> u32>(c"busy_abi_version") } {
        // SAFETY: it has no arguments and only returns a number.
        Ok(busy_abi_version) => unsafe { busy_abi_version() },
        Err(_) => return Err(OpenError::NotLibbusy { path }),
    };
    if !is_compatible(found) {
        return Err(OpenError::Incompatible { path, found });
    }
    // SAFETY: the functions of a library of this ABI have the types of these headers.
    unsafe { Bindings::from_library(library) }
        .map_err(|error| OpenError::MissingSymbol { path, reason: message(&error) })
}

/// Returns the value of the macro BUSY_ABI_COMPATIBLE of busy.h for the version `found`.
fn is_compatible(found: u32) -> bool {
    (ABI_VERSION..(bindings::BUSY_ABI_MAJOR + 1) << 16).contains(&found)
}

/// Returns the message of the dynamic linker, which libloading stores as the cause of its error.
fn message(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(cause) => cause.to_string(),
        None => error.to_string(),
    }
}
