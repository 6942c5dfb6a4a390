//! The meter on unsupported platforms: it never starts.

use crate::refusal::Refusal;
use crate::snapshot::{Counters, Snapshot, Stall, ThreadTotals};
use std::time::Duration;

/// A meter. None exists on this platform: [`Meter::start`] fails.
#[derive(Debug)]
pub enum Meter {}

/// Another tool in this process. None is found on this platform, since no meter runs.
#[derive(Debug, Clone, Copy)]
pub enum Disturbance {}

impl From<Disturbance> for Refusal {
    fn from(disturbance: Disturbance) -> Self {
        match disturbance {}
    }
}

/// Reports stalls. None exists on this platform, since no meter does.
#[derive(Debug)]
pub enum Stalls {}

/// A window. None exists on this platform, since no meter does.
#[derive(Debug)]
pub enum Window {}

impl Meter {
    /// Returns an error.
    ///
    /// # Errors
    /// [`Refusal::Platform`].
    pub fn start() -> Result<Self, Refusal> {
        Err(Refusal::Platform)
    }

    /// Returns an error.
    ///
    /// # Errors
    /// [`Refusal::Platform`].
    pub fn start_unless(_is_copy: &dyn Fn(usize) -> bool) -> Result<Self, Refusal> {
        Self::start()
    }

    /// Does nothing, since no meter runs.
    pub fn keep_at_most(_meters: usize) {}

    /// Can't be called, since no value of this type exists.
    pub fn disturbance(&self) -> Option<Disturbance> {
        match *self {}
    }

    /// Can't be called, since no value of this type exists.
    pub fn snapshot(&self) -> Snapshot {
        match *self {}
    }

    /// Can't be called, since no value of this type exists.
    pub fn count_lengths(&self) {
        match *self {}
    }

    /// Can't be called, since no value of this type exists.
    pub fn counters(&self, _gil: usize) -> Option<Counters> {
        match *self {}
    }

    /// Can't be called, since no value of this type exists.
    ///
    /// # Errors
    /// Never.
    pub fn window(&self) -> Result<Window, Refusal> {
        match *self {}
    }
}

impl Stalls {
    /// Returns None, since there is no GIL whose holds could be reported.
    pub fn new(_threshold: Duration) -> Option<Self> {
        None
    }

    /// Can't be called, since no value of this type exists.
    pub fn attach(&mut self) {
        match *self {}
    }

    /// Can't be called, since no value of this type exists.
    pub fn period(&self) -> Duration {
        match *self {}
    }

    /// Can't be called, since no value of this type exists.
    pub fn look(&mut self) -> Option<Stall> {
        match *self {}
    }
}

impl Window {
    /// Can't be called, since no value of this type exists.
    pub fn is_open(&self) -> bool {
        match *self {}
    }

    /// Can't be called, since no value of this type exists.
    pub fn read(&self) -> Option<Snapshot> {
        match *self {}
    }

    /// Can't be called, since no value of this type exists.
    ///
    /// # Errors
    /// Never.
    pub fn check(&self) -> Result<(), Refusal> {
        match *self {}
    }
}

/// Does nothing, since there is no meter.
pub fn register_fork_handlers() {}

/// Returns false, since the meter has no clock on this platform.
pub fn clock_is_tsc() -> bool {
    false
}

/// Returns `None`, since nothing is metered on this platform.
pub fn own_thread() -> Option<ThreadTotals> {
    None
}
