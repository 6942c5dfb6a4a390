//! The account: one thread's holds of one GIL and its waits for it. Only that thread writes to the account, by plain
//! stores.

use super::single_writer::{Sequence, add};
use super::slots::{Longest, Slot, SlotFigures, Slots};
use std::ptr::null_mut;
use std::sync::atomic::Ordering::{self, Relaxed};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64};

/// The pointer that stands for no account.
pub(crate) const NONE: *mut Account = null_mut();

/// The maximum time, in ticks (about 100 µs), between the end of a wait for the hand-over and the start of a wait for
/// the GIL that are counted as one wait. A thread that was forced to release the GIL begins the second one at once.
const SAME_WAIT: u64 = 1 << 18;

/// The holds and waits of one thread with one GIL, in ticks. Zeroed memory is an empty account of no session.
#[repr(C, align(64))]
pub(crate) struct Account {
    /// The index of the GIL.
    gil: AtomicU32,
    /// The thread's id; 0 if several threads share the account.
    tid: AtomicU32,
    session: AtomicU64,
    held: AtomicU64,
    acquisitions: AtomicU64,
    longest_hold: Longest,
    voluntary_releases: AtomicU64,
    forced_drops: AtomicU64,
    /// The start of the current wait; 0 if the thread is not waiting.
    waits_since: AtomicU64,
    waited: AtomicU64,
    waits: AtomicU64,
    longest_wait: Longest,
    /// Protects the waits that are recorded while the thread does not hold the GIL.
    waits_sequence: Sequence,
    /// The start and end of the latest wait for another thread to acquire the GIL.
    handover: [AtomicU64; 2],
    /// True if the latest release was forced. Then the wait for the hand-over is the beginning of the wait for the GIL.
    was_forced: AtomicBool,
    /// The next account with the same GIL.
    next: AtomicPtr<Account>,
    /// The next account of the same thread, in a ring.
    sibling: AtomicPtr<Account>,
    /// The place of its longest hold and wait in each open window.
    number: AtomicU32,
}

/// The waits of one account at one moment, in ticks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Waits {
    /// The total time of the waits that have ended.
    pub(super) waited: u64,
    pub(super) ended: u64,
    /// The start of the current wait.
    pub(super) since: Option<u64>,
}

impl Account {
    /// Returns an empty account of session 1.
    #[cfg(test)]
    pub(super) fn leak(gil: u32, tid: u32) -> &'static Self {
        static LEAKED: AtomicU32 = AtomicU32::new(0);
        let counter = || AtomicU64::new(0);
        let account = Box::leak(Box::new(Self {
            gil: AtomicU32::new(0),
            tid: AtomicU32::new(0),
            session: counter(),
            held: counter(),
            acquisitions: counter(),
            longest_hold: Longest::new(),
            voluntary_releases: counter(),
            forced_drops: counter(),
            waits_since: counter(),
            waited: counter(),
            waits: counter(),
            longest_wait: Longest::new(),
            waits_sequence: Sequence::new(),
            handover: [counter(), counter()],
            was_forced: AtomicBool::new(false),
            next: AtomicPtr::new(NONE),
            sibling: AtomicPtr::new(NONE),
            number: AtomicU32::new(LEAKED.fetch_add(1, Relaxed)),
        }));
        account.begin(gil, tid, 1);
        account
    }

    /// Gives it the number under which the open windows keep its longest hold and wait.
    pub(super) fn set_number(&self, number: u32) {
        self.number.store(number, Relaxed);
    }

    /// Empties the account for a new session.
    pub(super) fn begin(&self, gil: u32, tid: u32, session: u64) {
        let counters = [
            &self.held,
            &self.acquisitions,
            &self.voluntary_releases,
            &self.forced_drops,
            &self.waits_since,
            &self.waited,
            &self.waits,
            &self.handover[1],
        ];
        counters.into_iter().for_each(|counter| counter.store(0, Relaxed));
        self.longest_hold.clear();
        self.longest_wait.clear();
        self.waits_sequence.end_cut_off_write();
        self.gil.store(gil, Relaxed);
        self.tid.store(tid, Relaxed);
        self.session.store(session, Ordering::Release);
    }

    /// Returns true if this is the account with the GIL of index `gil` in `session`.
    #[inline]
    pub(super) fn is_with(&self, gil: u32, session: u64) -> bool {
        self.gil() == gil && self.session.load(Relaxed) == session
    }

    /// Returns the index of the GIL.
    #[inline]
    pub(super) fn gil(&self) -> u32 {
        self.gil.load(Relaxed)
    }

    /// Returns the thread's id; 0 if several threads share the account.
    pub(crate) fn tid(&self) -> u32 {
        self.tid.load(Relaxed)
    }

    /// Returns the session that the figures belong to; 0 if the account was never used.
    pub(super) fn session(&self) -> u64 {
        self.session.load(Ordering::Acquire)
    }

    /// Returns true if several threads share the account. Then a wait can't be attributed to one of them.
    fn is_shared(&self) -> bool {
        self.tid() == 0
    }

    /// Records an acquire, which ends the current wait for the GIL, if any.
    #[inline]
    pub(super) fn acquired(&self, open: &Slots, now: u64) {
        self.ends_wait(open, now);
        add(&self.acquisitions, 1);
    }

    /// Records a release, which ends the hold that began at `since`.
    #[inline]
    pub(super) fn released(&self, open: &Slots, since: u64, now: u64, is_forced: bool) {
        // The time stamp counters of two cores may differ by a few ticks.
        add(&self.held, now.saturating_sub(since));
        self.longest_hold.book(open, &self.number, SlotFigures::hold, since, now);
        add(if is_forced { &self.forced_drops } else { &self.voluntary_releases }, 1);
        self.was_forced.store(is_forced, Relaxed);
    }

    /// Records the start of a wait, unless the thread is already waiting. If a wait for the hand-over has just ended,
    /// the two are merged into one wait.
    #[inline]
    pub(crate) fn begins_wait(&self, now: u64) {
        if self.waits_since.load(Relaxed) != 0 || self.is_shared() {
            return;
        }
        let [began, ended] = [&self.handover[0], &self.handover[1]].map(|time| time.load(Relaxed));
        if ended == 0 || !self.was_forced.load(Relaxed) || now.saturating_sub(ended) > SAME_WAIT {
            self.waits_since.store(now, Relaxed);
            return;
        }
        self.waits_sequence.write(|| {
            self.waited.store(self.waited.load(Relaxed).saturating_sub(ended - began), Relaxed);
            self.waits.store(self.waits.load(Relaxed).saturating_sub(1), Relaxed);
            self.waits_since.store(began, Relaxed);
        });
        self.handover[1].store(0, Relaxed);
    }

    /// Records the end of a wait for the hand-over: another thread has acquired the GIL that this thread released.
    #[inline]
    pub(crate) fn ends_handover(&self, open: &Slots, now: u64) {
        let since = self.waits_since.load(Relaxed);
        if since == 0 {
            return;
        }
        self.waits_sequence.write(|| self.ends_wait(open, now));
        self.handover[0].store(since, Relaxed);
        self.handover[1].store(now.max(since), Relaxed);
    }

    /// Records the current wait, if any, which ends at `now`.
    #[inline]
    fn ends_wait(&self, open: &Slots, now: u64) {
        let since = self.waits_since.load(Relaxed);
        if since == 0 {
            return;
        }
        add(&self.waited, now.saturating_sub(since));
        add(&self.waits, 1);
        self.longest_wait.book(open, &self.number, SlotFigures::wait, since, now);
        self.waits_since.store(0, Relaxed);
    }

    /// Returns the number of acquires.
    pub(crate) fn acquisitions(&self) -> u64 {
        self.acquisitions.load(Relaxed)
    }

    /// Returns the number of voluntary releases.
    pub(crate) fn voluntary_releases(&self) -> u64 {
        self.voluntary_releases.load(Relaxed)
    }

    /// Returns the number of drops on request.
    pub(crate) fn forced_drops(&self) -> u64 {
        self.forced_drops.load(Relaxed)
    }

    /// Returns the total time of the holds that have ended.
    pub(super) fn held(&self) -> u64 {
        self.held.load(Relaxed)
    }

    /// Returns the waits, all read at the same moment.
    pub(super) fn waits(&self) -> Waits {
        self.waits_sequence.read(|| {
            let since = self.waits_since.load(Relaxed);
            let (waited, ended) = (self.waited.load(Relaxed), self.waits.load(Relaxed));
            Waits { waited, ended, since: (since != 0).then_some(since) }
        })
    }

    /// Returns the longest hold up to `now`, of the session or of the window in `slot`. `since` is the start of the
    /// current hold.
    pub(super) fn longest_hold(&self, slot: Option<Slot>, since: Option<u64>, now: u64) -> u64 {
        match slot {
            None => self.longest_hold.ever().max(since.map_or(0, |since| now.saturating_sub(since))),
            Some(slot) => slot.longest(self.number.load(Relaxed), SlotFigures::hold, since, now),
        }
    }

    /// Returns the longest wait. The arguments are as in [`Self::longest_hold`].
    pub(super) fn longest_wait(&self, slot: Option<Slot>, since: Option<u64>, now: u64) -> u64 {
        match slot {
            None => self.longest_wait.ever().max(since.map_or(0, |since| now.saturating_sub(since))),
            Some(slot) => slot.longest(self.number.load(Relaxed), SlotFigures::wait, since, now),
        }
    }

    /// Returns the next account on its GIL's list.
    pub(super) fn next(&self) -> *mut Self {
        self.next.load(Relaxed)
    }

    /// Makes `next` the account that follows on the GIL's list.
    pub(super) fn set_next(&self, next: *mut Self) {
        self.next.store(next, Relaxed);
    }

    /// Returns the next account of the same thread, in a ring.
    pub(super) fn sibling(&self) -> *const Self {
        self.sibling.load(Relaxed)
    }

    /// Puts this account into the ring of `other`, or makes it the only account of a new ring.
    pub(super) fn join_ring(&'static self, other: Option<&Self>) {
        let this = (&raw const *self).cast_mut();
        self.sibling.store(other.map_or(this, |other| other.sibling.load(Relaxed)), Relaxed);
        if let Some(other) = other {
            other.sibling.store(this, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_are_summed_and_the_longest_is_kept() {
        let (open, account) = (Slots::new(), Account::leak(0, 7));
        for (since, now) in [(100, 150), (200, 290), (300, 310)] {
            account.acquired(&open, since);
            account.released(&open, since, now, now == 290);
        }
        assert_eq!((account.held(), account.acquisitions()), (150, 3));
        assert_eq!((account.voluntary_releases(), account.forced_drops()), (2, 1));
        assert_eq!(account.longest_hold(None, None, 310), 90);
        assert_eq!(account.longest_hold(None, Some(400), 500), 100);
    }

    #[test]
    fn a_wait_lasts_from_its_first_start_to_the_acquire() {
        let (open, account) = (Slots::new(), Account::leak(0, 7));
        account.begins_wait(100);
        account.begins_wait(120);
        assert_eq!(account.waits(), Waits { waited: 0, ended: 0, since: Some(100) });
        account.acquired(&open, 150);
        assert_eq!(account.waits(), Waits { waited: 50, ended: 1, since: None });
        // An acquire without a wait.
        account.acquired(&open, 200);
        assert_eq!(account.waits(), Waits { waited: 50, ended: 1, since: None });
        assert_eq!(account.longest_wait(None, None, 200), 50);
    }

    #[test]
    fn after_a_forced_drop_the_hand_over_is_the_beginning_of_the_wait() {
        let (open, account) = (Slots::new(), Account::leak(0, 7));
        account.released(&open, 0, 100, true);
        account.begins_wait(100);
        account.ends_handover(&open, 130);
        assert_eq!(account.waits(), Waits { waited: 30, ended: 1, since: None });
        account.begins_wait(140);
        assert_eq!(account.waits(), Waits { waited: 0, ended: 0, since: Some(100) });
        account.acquired(&open, 170);
        assert_eq!(account.waits(), Waits { waited: 70, ended: 1, since: None });
        assert_eq!(account.longest_wait(None, None, 170), 70);
    }

    #[test]
    fn a_later_wait_is_not_part_of_the_hand_over() {
        let (open, account) = (Slots::new(), Account::leak(0, 7));
        account.released(&open, 0, 100, true);
        account.begins_wait(100);
        account.ends_handover(&open, 130);
        account.begins_wait(131 + SAME_WAIT);
        assert_eq!(account.waits(), Waits { waited: 30, ended: 1, since: Some(131 + SAME_WAIT) });
        // A wait after a voluntary release is a separate wait, too.
        let account = Account::leak(0, 8);
        account.released(&open, 0, 100, false);
        account.begins_wait(100);
        account.ends_handover(&open, 130);
        account.begins_wait(140);
        assert_eq!(account.waits(), Waits { waited: 30, ended: 1, since: Some(140) });
    }

    #[test]
    fn a_shared_account_has_no_waits() {
        let account = Account::leak(0, 0);
        account.begins_wait(100);
        assert_eq!(account.waits().since, None);
    }

    #[test]
    fn a_new_session_begins_with_an_empty_account() {
        let (open, account) = (Slots::new(), Account::leak(3, 7));
        account.begins_wait(10);
        account.acquired(&open, 20);
        account.released(&open, 20, 100, false);
        account.begins_wait(110);
        account.begin(3, 8, 2);
        assert!(account.is_with(3, 2) && !account.is_with(3, 1) && !account.is_with(2, 2));
        assert_eq!((account.held(), account.acquisitions(), account.voluntary_releases()), (0, 0, 0));
        assert_eq!(account.waits(), Waits { waited: 0, ended: 0, since: None });
        assert_eq!((account.longest_hold(None, None, 0), account.longest_wait(None, None, 0)), (0, 0));
    }

    #[test]
    fn a_new_session_begins_with_empty_windows() {
        let (open, account) = (Slots::new(), Account::leak(0, 7));
        let window = Some(open.open(5).unwrap());
        account.begins_wait(10);
        account.acquired(&open, 20);
        account.released(&open, 20, 100, false);
        assert_eq!((account.longest_hold(window, None, 0), account.longest_wait(window, None, 0)), (80, 10));
        // A forked child begins a session while the windows of its parent stay open.
        open.begin_anew(150);
        account.begin(0, 8, 2);
        assert_eq!((account.longest_hold(window, None, 0), account.longest_wait(window, None, 0)), (0, 0));
        account.acquired(&open, 200);
        account.released(&open, 200, 203, false);
        assert_eq!(account.longest_hold(window, None, 0), 3);
    }
}
