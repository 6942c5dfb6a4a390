//! libbusy as the lab uses it: opened by `busy_loader`, and tested with one wait. The lab tests the file that its child
//! interpreters then load.

#![allow(unsafe_code, reason = "calls through a C ABI")]

use busy_loader::bindings::{self, Bindings};
use busy_loader::{OpenError, open};
use std::ffi::CStr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A libbusy that was opened, has a compatible ABI, and passed a test wait.
pub struct Libbusy {
    bindings: Bindings,
    path: PathBuf,
}

/// The reason why a file is not the expected libbusy.
#[derive(Debug, thiserror::Error)]
pub enum LoaderError {
    /// The file can't be opened as the libbusy of this release.
    #[error(transparent)]
    Open(#[from] OpenError),
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
        Self { bindings: open(path)?, path: path.to_path_buf() }.tested()
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
