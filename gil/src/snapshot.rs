//! What the meter has counted, as plain values.

/// All GILs of the process, each with its threads. Several may be taken at any time, from any thread.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Grows with every start from rest and in every forked child: counts of two sessions can't be subtracted.
    pub session: u64,
    /// The first is the one under which the meter was started; more where interpreters have their own (3.12 on).
    pub gils: Vec<GilTotals>,
    /// GILs beyond those that the meter has room for, and so not metered.
    pub unlisted_gils: u64,
}

/// One GIL. Times in nanoseconds; what is still going on counts up to `at_ns`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GilTotals {
    /// The id of the interpreter whose GIL it is, as `PyInterpreterState_GetID` tells it; 0 is the main one.
    pub interpreter: i64,
    /// False as long as nothing was seen of it, since it was held or idle all the time: then its counts mean nothing.
    pub metered: bool,
    /// When this was read, on CLOCK_MONOTONIC.
    pub at_ns: u64,
    /// For how long it has been metered.
    pub metered_ns: u64,
    /// How long it was held, by whomever.
    pub held_ns: u64,
    /// How long threads waited for it, all together.
    pub waited_ns: u64,
    /// How often it was acquired.
    pub acquisitions: u64,
    /// How often a thread gave it up by itself.
    pub voluntary_releases: u64,
    /// How often a thread gave it up because another asked (3.x), or because its ticks were used up (2.7).
    pub forced_drops: u64,
    /// The longest hold; `None` where only two snapshots were subtracted.
    pub longest_hold_ns: Option<u64>,
    /// The longest wait; `None` where only two snapshots were subtracted.
    pub longest_wait_ns: Option<u64>,
    /// Who took part. What threads beyond the meter's room did is under thread 0.
    pub threads: Vec<ThreadTotals>,
}

/// One thread, as far as it had to do with one GIL.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ThreadTotals {
    /// The native thread id, gettid(2).
    pub tid: u32,
    /// True if it holds the GIL now.
    pub holds: bool,
    /// True if it waits for the GIL now.
    pub waits: bool,
    /// How long it held the GIL.
    pub held_ns: u64,
    /// How long it waited for the GIL.
    pub waited_ns: u64,
    /// How often it acquired it.
    pub acquisitions: u64,
    /// How often it found the GIL taken and had to wait.
    pub waits_begun: u64,
    /// As in [`GilTotals`].
    pub voluntary_releases: u64,
    /// As in [`GilTotals`].
    pub forced_drops: u64,
    /// As in [`GilTotals`].
    pub longest_hold_ns: Option<u64>,
    /// As in [`GilTotals`].
    pub longest_wait_ns: Option<u64>,
}

impl Snapshot {
    /// What happened from `earlier` to this one: counts and times are subtracted, the longest are unknown (a `Window` knows
    /// them). Of another session, such as the parent's, nothing is subtracted.
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
    /// An interpreter's id is never given twice; a forked child may re-create the GIL of the same one.
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

    /// The GIL's own figures, out of its threads'.
    pub(crate) fn sum(&mut self) {
        let sum = |of: fn(&ThreadTotals) -> u64| self.threads.iter().map(of).sum();
        let longest = |of: fn(&ThreadTotals) -> Option<u64>| self.threads.iter().filter_map(of).max();
        (self.held_ns, self.waited_ns) = (sum(|thread| thread.held_ns), sum(|thread| thread.waited_ns));
        // Each is rounded by itself.
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
    fn an_interval_is_the_difference_and_knows_no_longest() {
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
    fn rounding_never_holds_longer_than_it_lasted() {
        assert_eq!(snapshot(1, 99, &[(1, 50), (2, 50)]).gils[0].metered_ns, 100);
    }
}
