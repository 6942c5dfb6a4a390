//! Where the figures come from.

use super::error::TopError;
use crate::show::live::State;
use rustix::process::Signal;
use std::os::fd::BorrowedFd;
use std::process::ExitCode;
use std::time::Instant;

/// Where the figures come from.
pub trait Source {
    /// Waits until `until`, or until a key or a signal arrives. Returns the exit code once there is nothing more to show.
    ///
    /// # Errors
    /// The figures can't be read any more.
    fn wait(&mut self, until: Instant, keys: Option<BorrowedFd<'_>>) -> Result<Option<ExitCode>, TopError>;

    /// Returns the state now.
    ///
    /// # Errors
    /// The figures can't be read any more.
    fn state(&mut self) -> Result<State, TopError>;

    /// Returns the reason why no more figures will come, if the last state was the last one.
    fn end(&self) -> Option<TopError> {
        None
    }

    /// Sends the program a signal. Returns false if there is no program of this command's.
    fn send(&self, signal: Signal) -> bool;
}
