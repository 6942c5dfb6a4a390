//! Opens libbusy at run time, as a program in C would by dlopen(3), and asks its ABI version before any other call.
//!
//! The lab proves by it the very file that it then hands to its child interpreters. `bindings` is generated from
//! busy.h by bindgen, so header and library are held against each other on the way.

#![allow(unsafe_code, reason = "calls through a C ABI")]

#[allow(missing_docs, non_camel_case_types, dead_code, clippy::all, clippy::undocumented_unsafe_blocks)]
mod bindings;

use bindings::Bindings;
use std::ffi::CStr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The ABI that this loader was generated for, as the library tells its own.
pub const ABI_VERSION: u32 = bindings::BUSY_ABI_MAJOR << 16 | bindings::BUSY_ABI_MINOR;

/// The name under which programs ask the dynamic linker for such a library.
pub fn soname() -> String {
    format!("libbusy.so.{}", bindings::BUSY_ABI_MAJOR)
}

/// A libbusy that was opened, serves this header, and did a wait as it should.
pub struct Libbusy {
    bindings: Bindings,
    path: PathBuf,
}

/// Why a file is not the libbusy that was expected.
#[derive(Debug, thiserror::Error)]
pub enum LoaderError {
    /// The dynamic linker refused it: missing, no shared library, another machine's.
    #[error("can't load {path}: {reason}; give the libbusy of this release (`make install`, or BUSY_LIBDIR)")]
    Unloadable {
        /// The file.
        path: PathBuf,
        /// The linker's words.
        reason: String,
    },
    /// It has no busy_abi_version.
    #[error("{path} is a shared library but not libbusy: it has no busy_abi_version")]
    NotLibbusy {
        /// The file.
        path: PathBuf,
    },
    /// Its ABI is older, or of another major version.
    #[error(
        "{path} has ABI {}.{}, this program needs {}.{} or a later {2}.x: install the libbusy of this release",
        found >> 16, found & 0xffff, ABI_VERSION >> 16, ABI_VERSION & 0xffff
    )]
    Incompatible {
        /// The file.
        path: PathBuf,
        /// What its busy_abi_version() returned.
        found: u32,
    },
    /// It claims the ABI but lacks a function of it.
    #[error("{path} says that it has ABI {}.{} but lacks a function of it: {reason}", ABI_VERSION >> 16, ABI_VERSION & 0xffff)]
    MissingSymbol {
        /// The file.
        path: PathBuf,
        /// The linker's words, which name the function.
        reason: String,
    },
    /// A call did not do what busy.h says.
    #[error("{path} does not behave as busy.h says: {what}")]
    Misbehaves {
        /// The file.
        path: PathBuf,
        /// The call, what was expected, and what came.
        what: String,
    },
}

impl Libbusy {
    /// Opens the library at `path`, checks its ABI version, then one short wait against this program's own clock.
    ///
    /// # Errors
    /// The first thing that is not as it should be.
    pub fn open(path: &Path) -> Result<Self, LoaderError> {
        let path = path.to_path_buf();
        // SAFETY: loading runs the file's initialisers; it is the file that the user or the installation names.
        let library = match unsafe { libloading::Library::new(&path) } {
            Ok(library) => library,
            Err(error) => return Err(LoaderError::Unloadable { path, reason: words(&error) }),
        };
        // SAFETY: busy_abi_version has had this type in every version of the header.
        let found = match unsafe { library.get::<unsafe extern "C" fn() -> u32>(c"busy_abi_version") } {
            // SAFETY: it takes nothing and only returns a number.
            Ok(busy_abi_version) => unsafe { busy_abi_version() },
            Err(_) => return Err(LoaderError::NotLibbusy { path }),
        };
        if !is_compatible(found) {
            return Err(LoaderError::Incompatible { path, found });
        }
        // SAFETY: the functions of a library of this ABI have the types of this header.
        match unsafe { Bindings::from_library(library) } {
            Ok(bindings) => Self { bindings, path }.proved(),
            Err(error) => Err(LoaderError::MissingSymbol { path, reason: words(&error) }),
        }
    }

    /// The file that was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The release that the library says it is.
    pub fn version(&self) -> String {
        // SAFETY: a static text that is never NULL, by the header's word.
        unsafe { CStr::from_ptr(self.bindings.busy_version()) }.to_string_lossy().into_owned()
    }

    /// Waits for `duration` by busy_wait_ns and returns the polls and the time that it says it took.
    ///
    /// # Errors
    /// Any status but BUSY_OK, in the library's own words.
    pub fn wait(&self, duration: Duration) -> Result<(u64, Duration), LoaderError> {
        let mut result = bindings::busy_wait_result { count: 0, elapsed_ns: 0 };
        let ns = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        // SAFETY: NULL options are the defaults; `result` outlives the call.
        let status = unsafe { self.bindings.busy_wait_ns(ns, std::ptr::null(), &mut result) };
        if status == bindings::BUSY_OK as i32 {
            return Ok((result.count, Duration::from_nanos(result.elapsed_ns)));
        }
        // SAFETY: a static text that is never NULL, by the header's word.
        let meaning = unsafe { CStr::from_ptr(self.bindings.busy_strerror(status)) }.to_string_lossy();
        Err(self.misbehaves(format!("busy_wait_ns({ns}) answered {status}, {meaning}")))
    }

    /// How often time(2) can be read in a second, by the talk's own loop; takes up to a second.
    pub fn time_reads_per_second(&self) -> f64 {
        let start = Instant::now();
        // SAFETY: takes a number, returns a number.
        let count = unsafe { self.bindings.busy_wait_time(0) };
        count as f64 / start.elapsed().as_secs_f64()
    }

    fn proved(self) -> Result<Self, LoaderError> {
        let asked = Duration::from_millis(1);
        let start = Instant::now();
        let (count, elapsed) = self.wait(asked)?;
        let took = start.elapsed();
        if count > 0 && elapsed >= asked && took >= elapsed {
            return Ok(self);
        }
        Err(self
            .misbehaves(format!("a wait of {asked:?} took {took:?}, by its own word {elapsed:?} and {count} polls")))
    }

    fn misbehaves(&self, what: String) -> LoaderError {
        LoaderError::Misbehaves { path: self.path.clone(), what }
    }
}

/// BUSY_ABI_COMPATIBLE of busy.h.
fn is_compatible(found: u32) -> bool {
    (ABI_VERSION..(bindings::BUSY_ABI_MAJOR + 1) << 16).contains(&found)
}

/// An error with its cause: libloading keeps the linker's message in the latter.
fn words(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(cause) => cause.to_string(),
        None => error.to_string(),
    }
}
