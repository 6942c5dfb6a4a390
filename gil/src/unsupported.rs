//! The meter on unsupported platforms: it never starts.

use crate::refusal::Refusal;
use crate::snapshot::Snapshot;

/// A meter. There are none on this platform: [`Meter::start`] fails.
#[derive(Debug)]
pub enum Meter {}

/// A window. There are none on this platform, since there is no meter.
#[derive(Debug)]
pub enum Window {}

impl Meter {
    /// Fails.
    ///
    /// # Errors
    /// [`Refusal::Platform`].
    pub fn start() -> Result<Self, Refusal> {
        Err(Refusal::Platform)
    }

    /// Is never called.
    pub fn snapshot(&self) -> Snapshot {
        match *self {}
    }

    /// Is never called.
    ///
    /// # Errors
    /// None.
    pub fn window(&self) -> Result<Window, Refusal> {
        match *self {}
    }
}

impl Window {
    /// Is never called.
    pub fn read(&self) -> Snapshot {
        match *self {}
    }
}

/// Returns false: the meter has no clock on this platform.
pub fn clock_is_tsc() -> bool {
    false
}
