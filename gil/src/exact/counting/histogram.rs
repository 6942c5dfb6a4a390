//! How many holds of a GIL, and how many waits for it, had which length.
//!
//! Only a thread that has just acquired the GIL, or is about to release it, counts here, so there is one writer at a
//! time. As an account does, a histogram keeps its counts as they stood at the latest cut.

use super::atomic::AtomicU64;
use super::atomic::Ordering::{Acquire, Relaxed, Release};
use super::atomic::fence;
use super::capacity::BUCKETS;
use super::single_writer::add;
use super::slots::Kind;

/// The histograms of one GIL, by [`Kind`]. Zeroed memory is empty ones.
#[derive(Debug)]
#[cfg_attr(loom, derive(Default))]
#[repr(C)]
pub(super) struct Lengths([Histogram; 2]);

#[derive(Debug)]
#[cfg_attr(loom, derive(Default))]
#[repr(C)]
struct Histogram {
    /// The cut at which `previous` was current.
    cut: AtomicU64,
    /// The session to which the counts belong.
    session: AtomicU64,
    now: [AtomicU64; BUCKETS],
    previous: [AtomicU64; BUCKETS],
}

impl Lengths {
    /// Counts a hold or wait of `us` whole microseconds in `session`, after `cut`.
    pub(super) fn count(&self, kind: Kind, session: u64, cut: u64, us: u64) {
        self.0[kind as usize].count(session, cut, bucket(us));
    }

    /// Forgets all counts. No thread counts.
    pub(super) fn forget(&self) {
        self.0.iter().for_each(|histogram| histogram.session.store(0, Relaxed));
    }

    /// Returns what was counted in `session` up to `cut`, the latest one, by [`Kind`]. All events before the cut have
    /// been recorded.
    pub(super) fn at(&self, session: u64, cut: u64) -> [[u64; BUCKETS]; 2] {
        self.0.each_ref().map(|histogram| histogram.at(session, cut))
    }

    /// Returns what has been counted in `session` so far, by [`Kind`].
    pub(super) fn present(&self, session: u64) -> [[u64; BUCKETS]; 2] {
        self.0.each_ref().map(|histogram| histogram.present(session))
    }
}

impl Histogram {
    fn count(&self, session: u64, cut: u64, bucket: usize) {
        let is_new = self.session.load(Relaxed) != session;
        if is_new {
            self.now.iter().for_each(|count| count.store(0, Relaxed));
        }
        if is_new || self.cut.load(Relaxed) != cut {
            self.previous.iter().zip(&self.now).for_each(|(previous, now)| previous.store(now.load(Relaxed), Relaxed));
            self.cut.store(cut, Release);
            self.session.store(session, Release);
        }
        // A reader that sees this change sees the cut as well.
        fence(Release);
        add(&self.now[bucket], 1);
    }

    fn present(&self, session: u64) -> [u64; BUCKETS] {
        // A new session stores its number after it has emptied the counts.
        if self.session.load(Acquire) == session { load(&self.now) } else { [0; BUCKETS] }
    }

    fn at(&self, session: u64, cut: u64) -> [u64; BUCKETS] {
        if self.session.load(Acquire) != session {
            return [0; BUCKETS];
        }
        while self.cut.load(Acquire) != cut {
            let now = load(&self.now);
            fence(Acquire);
            if self.cut.load(Relaxed) != cut {
                return now;
            }
        }
        // Nobody writes to `previous` until the next cut.
        load(&self.previous)
    }
}

fn load(counts: &[AtomicU64; BUCKETS]) -> [u64; BUCKETS] {
    counts.each_ref().map(|count| count.load(Relaxed))
}

/// Returns the bucket of a length in whole microseconds.
fn bucket(us: u64) -> usize {
    ((u64::BITS - us.leading_zeros()) as usize).min(BUCKETS - 1)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn lengths() -> Lengths {
        // SAFETY: all fields are atomics, for which zeros are valid.
        unsafe { std::mem::zeroed() }
    }

    #[test]
    fn each_bucket_is_twice_as_wide_as_the_one_before() {
        let buckets = [0, 1, 2, 3, 4, 1023, 1024, (1 << 24) - 1, 1 << 24, u64::MAX].map(bucket);
        assert_eq!(buckets, [0, 1, 2, 2, 3, 10, 11, 24, 25, 25]);
    }

    #[test]
    fn a_reading_has_what_was_counted_up_to_the_cut() {
        let lengths = lengths();
        let holds = |session, cut| lengths.at(session, cut)[0][..3].to_vec();
        lengths.count(Kind::Hold, 1, 10, 0);
        lengths.count(Kind::Hold, 1, 10, 2);
        assert_eq!((holds(1, 20), holds(1, 10)), (vec![1, 0, 1], vec![0, 0, 0]));
        lengths.count(Kind::Hold, 1, 20, 1);
        assert_eq!((holds(1, 20), holds(1, 30)), (vec![1, 0, 1], vec![1, 1, 1]));
        assert_eq!(lengths.at(1, 30)[1], [0; BUCKETS]);
    }

    #[test]
    fn a_session_has_nothing_of_the_former_one() {
        let lengths = lengths();
        lengths.count(Kind::Wait, 1, 10, 0);
        lengths.count(Kind::Wait, 2, 10, 5);
        let waits = |session, cut| lengths.at(session, cut)[1][..4].to_vec();
        assert_eq!((waits(1, 20), waits(2, 20), waits(2, 10)), (vec![0; 4], vec![0, 0, 0, 1], vec![0; 4]));
        assert_eq!((lengths.present(1)[1][3], lengths.present(2)[1][3]), (0, 1));
    }
}
