//! The meter's figures, as plain values.

/// The figures of all GILs of the process. Snapshots may be taken at any time, from any thread, several at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The number of the session. It increases when a stopped meter is started, and in every forked child.
    pub session: u64,
    /// The GILs. The first one is the GIL under which the meter was started; there are more if interpreters have their
    /// own GIL (3.12 on).
    pub gils: Vec<GilTotals>,
    /// The number of GILs for which the meter had no room, and which are not metered.
    pub unlisted_gils: u64,
    /// The number of threads whose figures are missing, because there was no memory for them.
    pub unlisted_threads: u64,
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
    /// The longest hold.
    pub longest_hold_ns: u64,
    /// The longest wait.
    pub longest_wait_ns: u64,
    /// How many holds and waits had which length. None if they were not counted for the whole time.
    pub histograms: Option<Histograms>,
    /// The threads that held it or waited for it, sorted by `id`. Threads that have ended, and have no row of their own
    /// any more, are summed up under id 0.
    pub threads: Vec<ThreadTotals>,
}

/// The sums over all threads of one GIL, since the session began. Times are in nanoseconds. A current hold or wait counts up
/// to `at_ns`. No figure ever falls within a session.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Counters {
    /// See [`Snapshot`].
    pub session: u64,
    /// The number of GILs.
    pub gils: usize,
    /// See [`GilTotals`], for this field and for the following ones.
    pub interpreter: i64,
    /// False if the GIL has had no event.
    pub metered: bool,
    /// The time of the reading, on CLOCK_MONOTONIC.
    pub at_ns: u64,
    /// The time for which it has been metered.
    pub metered_ns: u64,
    /// The time that threads held it.
    pub held_ns: u64,
    /// The time that threads waited for it, summed over the threads.
    pub waited_ns: u64,
    /// The number of acquires.
    pub acquisitions: u64,
    /// The number of drops on request.
    pub forced_drops: u64,
    /// The number of threads that wait for it now.
    pub waiting: u32,
    /// How many holds and waits had which length since they were counted. None if they are not.
    pub histograms: Option<Histograms>,
}

/// The number of buckets of a histogram.
pub const BUCKETS: usize = 26;

/// How many holds and how many waits had which length. Bucket 0 counts those shorter than 1 µs, bucket k those of at least
/// 2^(k-1) µs and less than 2^k µs, and the last one all from 2^24 µs (16.8 s) on. A hold counts when it ends, a wait when
/// it ends by an acquire, each with its whole length.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Histograms {
    /// The number of holds.
    pub holds: [u64; BUCKETS],
    /// The number of waits.
    pub waits: [u64; BUCKETS],
}

/// The figures of one thread with one GIL.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ThreadTotals {
    /// The number of the row, which belongs to this thread and GIL alone, and is never used again; 0 for the sum of
    /// several ended threads. It grows from one thread's first event to the next.
    pub id: u64,
    /// The native thread id, as gettid(2) returns it; 0 for the sum of several ended threads.
    pub tid: u32,
    /// True if the thread has ended. The system may have given its `tid` to another thread.
    pub ended: bool,
    /// True if the thread's first event with this GIL was in this window.
    pub is_new: bool,
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
    pub longest_hold_ns: u64,
    /// See [`GilTotals`].
    pub longest_wait_ns: u64,
}

/// A hold of a GIL that made other threads wait.
#[derive(Debug, Clone)]
pub struct Stall {
    /// The id of the interpreter to which the GIL belongs.
    pub interpreter: i64,
    /// The number of the holder's row, as in [`ThreadTotals::id`].
    pub id: u64,
    /// The holder's native thread id.
    pub tid: u32,
    /// The start of the hold, on CLOCK_MONOTONIC.
    pub at_ns: u64,
    /// The length of the hold.
    pub held_ns: u64,
    /// The number of threads that waited when it ended.
    pub waiting: u32,
    /// The threads that were seen waiting, the one that waited for the longest first.
    pub waiters: Vec<Waiter>,
    /// The holder's Python stack during the hold, the innermost frame first, each as `FILE:LINE FUNCTION`; or the reason why
    /// there is none.
    pub stack: Result<Vec<String>, String>,
    /// The number of long holds before this one that came too fast to be reported.
    pub missed: u64,
}

/// A thread that waited during a stall.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiter {
    /// Its native thread id.
    pub tid: u32,
    /// The part of the hold for which it waited.
    pub waited_ns: u64,
}

impl GilTotals {
    /// Computes the GIL's own figures from those of its threads.
    pub(crate) fn sum(&mut self) {
        let sum = |of: fn(&ThreadTotals) -> u64| self.threads.iter().map(of).sum();
        let longest = |of: fn(&ThreadTotals) -> u64| self.threads.iter().map(of).max().unwrap_or(0);
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

    #[test]
    fn a_gil_has_the_sum_and_the_longest_of_its_threads() {
        let thread = |held_ns| ThreadTotals { held_ns, longest_hold_ns: held_ns, ..ThreadTotals::default() };
        let mut gil = GilTotals { metered_ns: 99, threads: vec![thread(40), thread(60)], ..GilTotals::default() };
        gil.sum();
        assert_eq!((gil.held_ns, gil.longest_hold_ns, gil.longest_wait_ns), (100, 60, 0));
        assert_eq!(gil.metered_ns, 100, "rounding never makes the held time longer than the metered time");
    }
}
