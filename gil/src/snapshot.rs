//! The meter's figures, as plain values.

/// The figures of all GILs of the process. Snapshots may be taken at any time, from any thread, several at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The number of the session. It increases when a stopped meter is started, and in every forked child. The figures
    /// of two sessions can't be subtracted.
    pub session: u64,
    /// The GILs. The first one is the GIL under which the meter was started; there are more if interpreters have their
    /// own GIL (3.12 on).
    pub gils: Vec<GilTotals>,
    /// The number of GILs for which the meter has no room, and which are not metered.
    pub unlisted_gils: u64,
}

/// The figures of one GIL. Times are in nanoseconds. A current hold or wait counts up to `at_ns`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GilTotals {
    /// The id of the interpreter that the GIL belongs to, as `PyInterpreterState_GetID` returns it; 0 is the main
    /// interpreter.
    pub interpreter: i64,
    /// False if the GIL has had no event, since one thread held it, or no thread did, all the time. Then its figures
    /// are not valid.
    pub metered: bool,
    /// The time of the snapshot, on CLOCK_MONOTONIC.
    pub at_ns: u64,
    /// The time for which it has been metered.
    pub metered_ns: u64,
    /// The time that threads held it.
    pub held_ns: u64,
    /// The time that threads waited for it, summed over the threads.
    pub waited_ns: u64,
    /// The number of acquires.
    pub acquisitions: u64,
    /// The number of voluntary releases.
    pub voluntary_releases: u64,
    /// The number of drops on request of another thread (3.x), or because the ticks were used up (2.7).
    pub forced_drops: u64,
    /// The longest hold; `None` in a difference of two snapshots.
    pub longest_hold_ns: Option<u64>,
    /// The longest wait; `None` in a difference of two snapshots.
    pub longest_wait_ns: Option<u64>,
    /// The threads that held it or waited for it. Threads for which the meter has no room are summed up under id 0.
    pub threads: Vec<ThreadTotals>,
}

/// The figures of one thread with one GIL.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ThreadTotals {
    /// The native thread id, as gettid(2) returns it.
    pub tid: u32,
    /// True if it holds the GIL now.
    pub holds: bool,
    /// True if it waits for the GIL now.
    pub waits: bool,
    /// The time that it held the GIL.
    pub held_ns: u64,
    /// The time that it waited for the GIL.
    pub waited_ns: u64,
    /// The number of its acquires.
    pub acquisitions: u64,
    /// The number of its waits, including a current one.
    pub waits_begun: u64,
    /// See [`GilTotals`].
    pub voluntary_releases: u64,
    /// See [`GilTotals`].
    pub forced_drops: u64,
    /// See [`GilTotals`].
    pub longest_hold_ns: Option<u64>,
    /// See [`GilTotals`].
    pub longest_wait_ns: Option<u64>,
}

impl Snapshot {
    /// Returns the figures of the time from `earlier` to this snapshot. Counts and times are subtracted; the longest
    /// hold and wait are unknown (a [`crate::Window`] has them). If `earlier` belongs to another session, for example
    /// the parent's, nothing is subtracted.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let mut interval = self.clone();
        for gil in &mut interval.gils {
            gil.forget_longest();
            let before = earlier.gils.iter().find(|before| before.is_same(gil));
            if let Some(before) = before.filter(|_| earlier.session == self.session) {
                gil.subtract(before);
            }
        }
        interval
    }
}

impl GilTotals {
    /// Returns true if both belong to the same interpreter. Ids of interpreters are not reused, but a forked child may
    /// create the GIL of the same interpreter again.
    fn is_same(&self, other: &Self) -> bool {
        self.interpreter == other.interpreter
    }

    fn forget_longest(&mut self) {
        (self.longest_hold_ns, self.longest_wait_ns) = (None, None);
        for thread in &mut self.threads {
            (thread.longest_hold_ns, thread.longest_wait_ns) = (None, None);
        }
    }

    fn subtract(&mut self, before: &Self) {
        for thread in &mut self.threads {
            if let Some(before) = before.threads.iter().find(|before| before.tid == thread.tid) {
                thread.held_ns = thread.held_ns.saturating_sub(before.held_ns);
                thread.waited_ns = thread.waited_ns.saturating_sub(before.waited_ns);
                thread.acquisitions = thread.acquisitions.saturating_sub(before.acquisitions);
                thread.waits_begun = thread.waits_begun.saturating_sub(before.waits_begun);
                thread.voluntary_releases = thread.voluntary_releases.saturating_sub(before.voluntary_releases);
                thread.forced_drops = thread.forced_drops.saturating_sub(before.forced_drops);
            }
        }
        self.metered_ns = self.metered_ns.saturating_sub(before.metered_ns);
        self.sum();
    }

    /// Computes the GIL's own figures from those of its threads.
    pub(crate) fn sum(&mut self) {
        let sum = |of: fn(&ThreadTotals) -> u64| self.threads.iter().map(of).sum();
        let longest = |of: fn(&ThreadTotals) -> Option<u64>| self.threads.iter().filter_map(of).max();
        (self.held_ns, self.waited_ns) = (sum(|thread| thread.held_ns), sum(|thread| thread.waited_ns));
        // Each time is rounded separately, so the held time could exceed the metered time.
        self.metered_ns = self.metered_ns.max(self.held_ns);
        self.acquisitions = sum(|thread| thread.acquisitions);
        self.voluntary_releases = sum(|thread| thread.voluntary_releases);
        self.forced_drops = sum(|thread| thread.forced_drops);
        self.longest_hold_ns = longest(|thread| thread.longest_hold_ns);
        self.longest_wait_ns = longest(|thread| thread.longest_wait_ns);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(session: u64, metered_ns: u64, threads: &[(u32, u64)]) -> Snapshot {
        let thread = |&(tid, held_ns): &(u32, u64)| ThreadTotals {
            tid,
            held_ns,
            acquisitions: held_ns / 10,
            longest_hold_ns: Some(held_ns),
            ..ThreadTotals::default()
        };
        let threads = threads.iter().map(thread).collect();
        let mut gil =
            GilTotals { metered: true, at_ns: 1000 + metered_ns, metered_ns, threads, ..GilTotals::default() };
        gil.sum();
        Snapshot { session, gils: vec![gil], unlisted_gils: 0 }
    }

    #[test]
    fn an_interval_is_the_difference_and_has_no_longest() {
        let interval = snapshot(1, 500, &[(7, 90), (8, 20)]).since(&snapshot(1, 300, &[(7, 40)]));
        let gil = &interval.gils[0];
        assert_eq!((gil.metered_ns, gil.held_ns, gil.acquisitions, gil.longest_hold_ns), (200, 70, 7, None));
        assert_eq!(gil.threads.iter().map(|thread| thread.held_ns).collect::<Vec<_>>(), [50, 20]);
    }

    #[test]
    fn nothing_is_subtracted_across_a_fork() {
        let interval = snapshot(2, 100, &[(9, 60)]).since(&snapshot(1, 300, &[(9, 40)]));
        assert_eq!((interval.gils[0].metered_ns, interval.gils[0].held_ns), (100, 60));
    }

    #[test]
    fn rounding_never_makes_the_held_time_longer_than_the_metered_time() {
        assert_eq!(snapshot(1, 99, &[(1, 50), (2, 50)]).gils[0].metered_ns, 100);
    }
}
