//! The time of the ticks in a log.

use crate::exact::Reading;

/// Converts ticks to time.
#[derive(Clone, Copy)]
pub(super) struct Scale {
    pub(super) base_ticks: u64,
    pub(super) now: Reading,
    pub(super) ns_per_tick: f64,
}

impl Scale {
    pub(super) fn ns(&self, ticks: u64) -> u64 {
        (ticks as f64 * self.ns_per_tick) as u64
    }

    /// Returns the time of an event, whose ticks count from the base, unless the machine was suspended since then.
    pub(super) fn time(&self, ticks: u64) -> u64 {
        let ticks = self.base_ticks.wrapping_add(ticks);
        let before = self.ns(self.now.ticks.saturating_sub(ticks));
        self.now.ns.saturating_sub(before).saturating_add(self.ns(ticks.saturating_sub(self.now.ticks)))
    }

    /// Returns the time at `ticks` of the clock itself; None for 0.
    pub(super) fn since(&self, ticks: u64) -> Option<u64> {
        (ticks != 0).then(|| self.time(ticks.saturating_sub(self.base_ticks)))
    }
}
