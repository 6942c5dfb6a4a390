//! Machines on which nothing is metered.

use crate::refusal::Refusal;
use crate::snapshot::Snapshot;

/// Never had: [`Meter::start`] refuses.
#[derive(Debug)]
pub enum Meter {}

/// Never had: there is no meter to open it on.
#[derive(Debug)]
pub enum Window {}

impl Meter {
    /// # Errors
    /// [`Refusal::Platform`].
    pub fn start() -> Result<Self, Refusal> {
        Err(Refusal::Platform)
    }

    /// Never called.
    pub fn snapshot(&self) -> Snapshot {
        match *self {}
    }

    /// Never called.
    ///
    /// # Errors
    /// None.
    pub fn window(&self) -> Result<Window, Refusal> {
        match *self {}
    }
}

impl Window {
    /// Never called.
    pub fn read(&self) -> Snapshot {
        match *self {}
    }
}

/// The meter has no clock here.
pub fn clock_is_tsc() -> bool {
    false
}
