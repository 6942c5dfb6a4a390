//! What is known of one thread with one GIL at one moment, as plain values and in memory.

use super::atomic::Ordering::Relaxed;
use super::single_writer::cells;

cells! {
    /// Counts, times and starts of one thread with one GIL, in ticks. They describe one moment. First come those that change
    /// where nobody waits.
    pub(super) struct Figures, Cells {
        /// The start of the current hold; 0 if the thread does not hold the GIL.
        holds_since,
        /// The total time of the holds that have ended.
        held,
        acquisitions,
        voluntary_releases,
        /// The start of the current wait; 0 if the thread is not waiting.
        waits_since,
        longest_hold,
        forced_drops,
        /// The total time of the waits that have ended.
        waited,
        /// The number of waits that have ended.
        waits,
        longest_wait,
    }
}

/// One of the figures of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Total {
    /// The start of the current hold; 0 if the thread does not hold the GIL.
    HoldsSince,
    /// The time of the holds that have ended.
    Held,
    /// The number of acquires.
    Acquisitions,
    /// The number of voluntary releases.
    VoluntaryReleases,
    /// The start of the current wait; 0 if the thread is not waiting.
    WaitsSince,
    /// The longest hold that has ended.
    LongestHold,
    /// The number of drops on request.
    ForcedDrops,
    /// The time of the waits that have ended.
    Waited,
    /// The number of waits that have ended.
    Waits,
    /// The longest wait that has ended.
    LongestWait,
}

impl Total {
    /// All of them, in this order.
    pub const ALL: [Self; 10] = [
        Self::HoldsSince,
        Self::Held,
        Self::Acquisitions,
        Self::VoluntaryReleases,
        Self::WaitsSince,
        Self::LongestHold,
        Self::ForcedDrops,
        Self::Waited,
        Self::Waits,
        Self::LongestWait,
    ];
}

impl Cells {
    /// Returns that figure.
    #[inline(always)]
    pub(super) fn total(&self, total: Total) -> u64 {
        let figure = match total {
            Total::HoldsSince => &self.holds_since,
            Total::Held => &self.held,
            Total::Acquisitions => &self.acquisitions,
            Total::VoluntaryReleases => &self.voluntary_releases,
            Total::WaitsSince => &self.waits_since,
            Total::LongestHold => &self.longest_hold,
            Total::ForcedDrops => &self.forced_drops,
            Total::Waited => &self.waited,
            Total::Waits => &self.waits,
            Total::LongestWait => &self.longest_wait,
        };
        figure.load(Relaxed)
    }
}

impl Figures {
    /// Returns the figures with the current hold and wait ended at `now`, as far as they lie after `from`.
    pub(super) fn up_to(mut self, from: u64, now: u64) -> Self {
        for (since, total, longest) in [
            (self.holds_since, &mut self.held, &mut self.longest_hold),
            (self.waits_since, &mut self.waited, &mut self.longest_wait),
        ] {
            if since != 0 {
                let length = now.saturating_sub(since);
                *total += length;
                *longest = (*longest).max(length.min(now.saturating_sub(from)));
            }
        }
        self.waits += u64::from(self.waits_since != 0);
        self
    }

    /// Adds the counts and times of `more`.
    pub(super) fn add(&mut self, more: &Self) {
        self.combine(more, |own, more| own + more);
    }

    /// Subtracts the counts and times of `less`.
    pub(super) fn subtract(&mut self, less: &Self) {
        self.combine(less, u64::saturating_sub);
    }

    fn combine(&mut self, other: &Self, with: fn(u64, u64) -> u64) {
        for (own, other) in [
            (&mut self.held, other.held),
            (&mut self.acquisitions, other.acquisitions),
            (&mut self.voluntary_releases, other.voluntary_releases),
            (&mut self.forced_drops, other.forced_drops),
            (&mut self.waited, other.waited),
            (&mut self.waits, other.waits),
        ] {
            *own = with(*own, other);
        }
    }

    /// Returns true if nothing is known.
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_current_hold_and_wait_count_up_to_now() {
        let figures = Figures { held: 10, holds_since: 100, longest_hold: 7, waits_since: 90, ..Figures::default() };
        let now = figures.up_to(0, 105);
        assert_eq!((now.held, now.longest_hold, now.waited, now.longest_wait, now.waits), (15, 7, 15, 15, 1));
        // The longest hold of a window that was opened during the hold.
        let now = figures.up_to(200, 230);
        assert_eq!((now.held, now.longest_hold), (140, 30));
    }

    #[test]
    fn sums_leave_the_longest_and_the_current_hold_alone() {
        let one = Figures { held: 10, waits: 1, longest_hold: 9, holds_since: 5, ..Figures::default() };
        let mut sum = one;
        sum.add(&Figures { held: 4, waits: 2, longest_hold: 50, ..Figures::default() });
        assert_eq!((sum.held, sum.waits, sum.longest_hold, sum.holds_since), (14, 3, 9, 5));
        sum.subtract(&one);
        assert_eq!((sum.held, sum.waits), (4, 2));
        sum.subtract(&one);
        assert_eq!((sum.held, sum.waits), (0, 1));
    }
}
