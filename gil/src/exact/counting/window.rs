//! Windows: periods of metering, each with its own longest hold and wait.

use super::super::clock;
use super::read;
use super::slots::{OPEN, Slot};
use crate::refusal::Refusal;
use crate::snapshot::Snapshot;

/// An open window. It may be read any number of times; dropping it closes it.
#[derive(Debug)]
pub struct Window {
    slot: Slot,
    before: Snapshot,
}

impl Window {
    pub(crate) fn open() -> Result<Self, Refusal> {
        let slot = OPEN.open(clock::ticks())?;
        Ok(Self { slot, before: read::snapshot(None) })
    }

    /// Returns what happened since the window was opened, the longest hold and wait included. In a forked child: since
    /// the fork.
    pub fn read(&self) -> Snapshot {
        let now = read::snapshot(Some(self.slot));
        let mut interval = now.since(&self.before);
        for (gil, with_longest) in interval.gils.iter_mut().zip(&now.gils) {
            for (thread, with_longest) in gil.threads.iter_mut().zip(&with_longest.threads) {
                // The window opens a moment before its first snapshot is taken.
                thread.longest_hold_ns = with_longest.longest_hold_ns.map(|longest| longest.min(thread.held_ns));
                thread.longest_wait_ns = with_longest.longest_wait_ns.map(|longest| longest.min(thread.waited_ns));
            }
            gil.sum();
        }
        interval
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        OPEN.close(self.slot);
    }
}
