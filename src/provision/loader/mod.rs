//! Opens libbusy at run time, as a C program would with dlopen(3), and checks its ABI version before any other call.
//!
//! The lab uses it to test the file that its child interpreters then load. `bindings` is generated from busy.h by
//! bindgen, so the test also compares the library with the header.

#![allow(unsafe_code, reason = "calls through a C ABI")]

#[allow(missing_docs, non_camel_case_types, dead_code, clippy::all, clippy::undocumented_unsafe_blocks)]
mod bindings;

use bindings::Bindings;
use std::ffi::CStr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The ABI that this loader was generated for, in the form of busy_abi_version().
pub const ABI_VERSION: u32 = bindings::BUSY_ABI_MAJOR << 16 | bindings::BUSY_ABI_MINOR;

/// Returns the soname, which is the name by which programs request this library from the dynamic linker.
pub fn soname() -> String {
    format!("libbusy.so.{}", bindings::BUSY_ABI_MAJOR)
}

/// A libbusy that was opened, has a compatible ABI, and passed a test wait.
pub struct Libbusy {
    bindings: Bindings,
    path: PathBuf,
}

/// The reason why a file is not the expected libbusy.
#[derive(Debug, thiserror::Error)]
pub enum LoaderError {
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
    /// A call did not behave as busy.h promises.
    #[error("{path} does not behave as busy.h promises: {what}")]
    Misbehaves {
        /// The file.
        path: PathBuf,
        /// The call, its expected result, and its actual result.
        what: String,
    },
}

impl Libbusy {
    /// Opens the library at `path`, checks its ABI version, and tests one short wait with this program's clock.
    ///
    /// # Errors
    /// The first check that fails.
    pub fn open(path: &Path) -> Result<Self, LoaderError> {
        let path = path.to_path_buf();
        // SAFETY: loading runs the initialisers of the file, which the user or the installation has chosen.
        let library = match unsafe { libloading::Library::new(&path) } {
            Ok(library) => library,
            Err(error) => return Err(LoaderError::Unloadable { path, reason: message(&error) }),
        };
        // SAFETY: busy_abi_version has had this type in every version of the header.
        let found = match unsafe { library.get::<unsafe extern "C" fn() -> u32>(c"busy_abi_version") } {
            // SAFETY: it has no arguments and only returns a number.
            Ok(busy_abi_version) => unsafe { busy_abi_version() },
            Err(_) => return Err(LoaderError::NotLibbusy { path }),
        };
        if !is_compatible(found) {
            return Err(LoaderError::Incompatible { path, found });
        }
        // SAFETY: the functions of a library of this ABI have the types of this header.
        match unsafe { Bindings::from_library(library) } {
            Ok(bindings) => Self { bindings, path }.tested(),
            Err(error) => Err(LoaderError::MissingSymbol { path, reason: message(&error) }),
        }
    }

    /// Returns the file that was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the release that the library reports.
    pub fn version(&self) -> String {
        // SAFETY: a static text that is never NULL, as the header promises.
        unsafe { CStr::from_ptr(self.bindings.busy_version()) }.to_string_lossy().into_owned()
    }

    /// Waits for `duration` with busy_wait_ns, and returns the number of polls and the duration that it reports.
    ///
    /// # Errors
    /// Any status except BUSY_OK, with the library's description of it.
    pub fn wait(&self, duration: Duration) -> Result<(u64, Duration), LoaderError> {
        let mut result = bindings::busy_wait_result { count: 0, elapsed_ns: 0 };
        let ns = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        // SAFETY: NULL options are the defaults; `result` outlives the call.
        let status = unsafe { self.bindings.busy_wait_ns(ns, std::ptr::null(), &mut result) };
        if status == bindings::BUSY_OK as i32 {
            return Ok((result.count, Duration::from_nanos(result.elapsed_ns)));
        }
        // SAFETY: a static text that is never NULL, as the header promises.
        let meaning = unsafe { CStr::from_ptr(self.bindings.busy_strerror(status)) }.to_string_lossy();
        Err(self.misbehaves(format!("busy_wait_ns({ns}) returned {status}, {meaning}")))
    }

    /// Returns the number of times per second that time(2) can be read, measured with the talk's loop. Takes up to a
    /// second.
    pub fn time_reads_per_second(&self) -> f64 {
        let start = Instant::now();
        // SAFETY: it only takes and returns a number.
        let count = unsafe { self.bindings.busy_wait_time(0) };
        count as f64 / start.elapsed().as_secs_f64()
    }

    fn tested(self) -> Result<Self, LoaderError> {
        let asked = Duration::from_millis(1);
        let start = Instant::now();
        let (count, elapsed) = self.wait(asked)?;
        let took = start.elapsed();
        if count > 0 && elapsed >= asked && took >= elapsed {
            return Ok(self);
        }
        Err(self.misbehaves(format!("a wait of {asked:?} took {took:?}; it reported {elapsed:?} and {count} polls")))
    }

    fn misbehaves(&self, what: String) -> LoaderError {
        LoaderError::Misbehaves { path: self.path.clone(), what }
    }
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
