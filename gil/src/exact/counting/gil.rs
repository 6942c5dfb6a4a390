//! One GIL, with its holder. Only the holder writes here, so there is one writer at a time.

use super::account::{Account, NONE};
use super::capacity::GILS;
use super::figures::{Cells, Figures};
use super::histogram::Lengths;
use super::long_holds::{LongHold, LongHolds};
use super::single_writer::add;
use super::sink::{self, Event};
use super::slots::{OPEN, Slots};
use super::tally::Tally;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicPtr, AtomicU64, AtomicUsize};

/// One GIL. Zeroed memory is an unused GIL.
#[repr(C, align(128))]
pub(crate) struct Gil {
    /// The address of `cond`, or of 2.7's semaphore; 0 if the GIL is unused, or was destroyed.
    address: AtomicUsize,
    holder: AtomicPtr<Account>,
    /// The row of the latest holder. An acquire by any other thread counts as a switch.
    last: AtomicU64,
    switches: AtomicU64,
    drop_requested: AtomicBool,
    /// The sums over all threads.
    tally: Tally,
    /// The number of the GIL, which is never used again; 0 if the entry is free. Its remainder by GILS is the index in
    /// the table of GILs.
    id: AtomicU64,
    /// The time of the GIL's first event in this session, in ticks; 0 if it had none.
    metered_since: AtomicU64,
    /// The time at which it was destroyed; 0 before.
    ended: AtomicU64,
    session: AtomicU64,
    /// The id of its interpreter.
    interpreter: AtomicI64,
    /// The figures of the threads that have ended, and the session to which they belong. The longest hold and wait are
    /// those of the threads that have no account any more. The registry writes them under its lock.
    past: Cells,
    past_session: AtomicU64,
    /// The lengths of the holds and waits.
    lengths: Lengths,
    /// The latest holds that were noted.
    long_holds: LongHolds,
}

impl Gil {
    pub(super) const fn new() -> Self {
        // SAFETY: all fields are atomics, for which zeros are valid.
        unsafe { std::mem::zeroed() }
    }

    /// Makes this the GIL at `address`, with a new number.
    pub(super) fn place(&self, index: usize, address: usize, interpreter: i64) {
        static PLACED: AtomicU64 = AtomicU64::new(0);
        let number = PLACED.fetch_add(1, Relaxed) + 1;
        self.interpreter.store(interpreter, Relaxed);
        self.long_holds.reset();
        self.reset();
        // Those of the GIL that had this entry before, in the same session.
        self.past_session.store(0, Relaxed);
        self.lengths.forget();
        self.tally.forget_waits();
        self.ended.store(0, Relaxed);
        self.id.store(number * GILS as u64 + index as u64, Release);
        self.address.store(address, Relaxed);
    }

    /// Takes a free entry of the table, until [`Self::place`].
    pub(super) fn take(&self) -> bool {
        self.id.compare_exchange(0, u64::MAX, Acquire, Relaxed).is_ok()
    }

    /// Makes the entry of a destroyed GIL free.
    pub(super) fn free(&self) {
        self.session.store(0, Relaxed);
        self.address.store(0, Relaxed);
        self.id.store(0, Release);
    }

    /// Returns the number of the GIL.
    #[inline]
    pub(crate) fn id(&self) -> u64 {
        self.id.load(Relaxed)
    }

    /// Returns the index in the table of GILs.
    #[inline]
    pub(super) fn index(&self) -> u32 {
        (self.id() % GILS as u64) as u32
    }

    /// Returns the address of `cond`, or of 2.7's semaphore.
    #[inline]
    pub(super) fn address(&self) -> usize {
        self.address.load(Relaxed)
    }

    /// Returns true if its `cond`, or 2.7's semaphore, is at `address`.
    #[inline]
    pub(crate) fn is_at(&self, address: usize) -> bool {
        self.address() == address
    }

    /// Returns the id of its interpreter.
    pub(crate) fn interpreter(&self) -> i64 {
        self.interpreter.load(Relaxed)
    }

    /// Returns true if it is the main interpreter's. Py_Initialize creates that one again at the same address.
    pub(super) fn is_main(&self) -> bool {
        self.interpreter() == 0
    }

    /// Returns true if it is in use, and belongs to `session`.
    pub(crate) fn is_of(&self, session: u64) -> bool {
        self.id() != 0 && self.session() == session
    }

    /// Returns the last session to which the GIL belonged.
    pub(super) fn session(&self) -> u64 {
        self.session.load(Relaxed)
    }

    /// Makes the GIL part of `session`. It counts as not metered until its first event.
    pub(crate) fn belong_to(&self, session: u64) {
        self.session.store(session, Relaxed);
    }

    /// Returns the start of metering, in ticks; 0 before the first event.
    pub(super) fn metered_since(&self) -> u64 {
        self.metered_since.load(Acquire)
    }

    /// Returns the time at which it was destroyed.
    pub(super) fn ended(&self) -> Option<u64> {
        Some(self.ended.load(Acquire)).filter(|ended| *ended != 0)
    }

    /// Returns the figures of the threads that have ended in `session`.
    pub(super) fn past(&self, session: u64) -> Figures {
        if self.past_session.load(Relaxed) == session { self.past.load() } else { Figures::default() }
    }

    /// Replaces the figures of the threads that have ended.
    pub(super) fn set_past(&self, session: u64, past: &Figures) {
        self.past.store(past);
        self.past_session.store(session, Relaxed);
    }

    /// Returns the lengths of the holds and waits.
    pub(super) fn lengths(&self) -> &Lengths {
        &self.lengths
    }

    /// Records an acquire by the thread of `account`, which is the calling thread.
    // Always: the calls would cost as much as the rest, and the compiler counts the two kinds of hooks.
    #[inline(always)]
    pub(crate) fn acquired(&self, account: &'static Account, open: &Slots, now: u64) {
        if self.metered_since.load(Relaxed) == 0 {
            self.first_event(account.session(), open, now);
        }
        let (moment, has_waited) = account.acquired(open, now);
        self.tally.hold_began(moment);
        self.tally.acquired();
        if has_waited {
            self.tally.wait_ended(account.session(), moment);
        }
        self.held_by(account);
        sink::report(account, Event::Acquired, now);
    }

    /// Records that the thread of `account`, which is the calling thread, begins to wait for the GIL or for the hand-over,
    /// unless it is already waiting.
    #[inline]
    pub(crate) fn waits(&self, account: &'static Account, open: &Slots, now: u64) {
        if let Some(since) = account.begins_wait_in(open, now) {
            self.tally.wait_began(account.session(), since);
            sink::report(account, Event::WaitBegan, now);
        }
    }

    /// Records that the calling thread, of `account`, has waited for the GIL's mutex since `now`, and has it. Unless it holds
    /// the GIL and is about to release it, it has waited for the GIL since `now`. Before the GIL's first event, it may be
    /// the unknown holder.
    pub(crate) fn waited_for_mutex(&self, account: &'static Account, open: &Slots, now: u64) {
        if self.metered_since() != 0 && !self.holder().is_some_and(|holder| std::ptr::eq(holder, account)) {
            self.waits(account, open, now);
        }
    }

    /// Records the end of a wait for the hand-over.
    #[inline]
    pub(crate) fn handed_over(&self, account: &'static Account, open: &Slots, now: u64) {
        if let Some(moment) = account.ends_handover(open, now) {
            self.tally.wait_ended(account.session(), moment);
        }
        sink::report(account, Event::WaitEnded, now);
    }

    /// Records the end of the thread of `account`, which may end in a wait.
    pub(super) fn thread_ended(&self, account: &'static Account, open: &Slots, now: u64) {
        let (moment, has_waited) = account.ends(open, now, self.ended());
        if has_waited {
            self.tally.wait_ended(account.session(), moment);
        }
    }

    /// Returns the sums over all threads.
    pub(super) fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Records a release by the holder, voluntary or on request. If no holder is known, metering begins.
    #[inline]
    pub(crate) fn released(&self, open: &Slots, session: u64, now: u64, is_forced: bool) {
        let Some(account) = self.holder() else { return self.first_event(session, open, now) };
        let (moment, noted) = account.released(open, now, is_forced);
        self.tally.hold_ended(moment, is_forced);
        self.holder.store(NONE, Relaxed);
        if let Some(since) = noted {
            self.note(account, since, moment);
        }
        sink::report(account, if is_forced { Event::Dropped } else { Event::Released }, now);
    }

    /// Notes a hold of the calling thread that has ended, before any other thread can acquire the GIL.
    #[cold]
    fn note(&self, account: &Account, since: u64, until: u64) {
        let waiting = u64::from(self.tally.waiting(account.session()));
        self.long_holds.push(&LongHold { id: account.id(), tid: u64::from(account.tid()), since, until, waiting });
    }

    /// Returns the number of holds that were ever noted.
    pub(crate) fn noted_so_far(&self) -> u64 {
        self.long_holds.written()
    }

    /// Passes the noted holds on to `body`, as [`LongHolds::read_from`] does.
    pub(crate) fn noted_from(&self, next: u64, body: impl FnMut(LongHold)) -> (u64, u64) {
        self.long_holds.read_from(next, body)
    }

    /// Returns the number of the holder's row, and the start of its hold. The caller may be any thread: the two belong
    /// together only if they are the same in a second call.
    pub(crate) fn running_hold(&self) -> Option<(u64, u64)> {
        let account = self.holder()?;
        Some((account.id(), account.holds_since())).filter(|(_, since)| *since != 0)
    }

    /// Returns the number of threads that wait in `session`.
    pub(crate) fn waiting(&self, session: u64) -> u32 {
        self.tally.waiting(session)
    }

    #[cold]
    fn first_event(&self, session: u64, open: &Slots, now: u64) {
        // The account of the threads without memory belongs to no session.
        if session == 0 {
            return;
        }
        self.belong_to(session);
        if self.metered_since() == 0 {
            // As late as the account's own event, which is not before the latest cut.
            self.metered_since.store(now.max(open.cut()), Release);
        }
    }

    #[inline]
    fn held_by(&self, account: &'static Account) {
        if self.last.load(Relaxed) != account.id() {
            self.last.store(account.id(), Relaxed);
            add(&self.switches, 1);
        }
        if self.drop_requested.load(Relaxed) {
            self.drop_requested.store(false, Relaxed);
        }
        self.holder.store((&raw const *account).cast_mut(), Relaxed);
    }

    /// Begins metering with a holder whose acquire was not recorded.
    pub(crate) fn seed(&self, account: &'static Account, session: u64, now: u64) {
        self.seed_in(&OPEN, account, session, now);
    }

    pub(super) fn seed_in(&self, open: &Slots, account: &'static Account, session: u64, now: u64) {
        let now = now.max(open.cut());
        self.begin(session, now);
        account.holds(open, now);
        self.tally.hold_began(now);
        self.held_by(account);
        sink::report(account, Event::Holds, now);
    }

    /// Begins metering.
    pub(crate) fn begin(&self, session: u64, now: u64) {
        self.belong_to(session);
        self.metered_since.store(now, Release);
    }

    /// Resets the GIL, except for its address, number and interpreter.
    pub(crate) fn reset(&self) {
        self.holder.store(NONE, Relaxed);
        self.last.store(0, Relaxed);
        self.metered_since.store(0, Relaxed);
        self.drop_requested.store(false, Relaxed);
        self.tally.reset();
    }

    /// Records that the main GIL is being created again at the same address: by a forked child
    /// (`_PyEval_ReInitThreads`), or by Py_Initialize after Py_FinalizeEx.
    #[cold]
    pub(crate) fn created_anew(&self, open: &Slots, session: u64, now: u64) {
        if self.holder().is_some() {
            self.released(open, session, now, true);
        }
        self.ended.store(0, Release);
    }

    /// Records that the GIL is being destroyed (`destroy_gil`), which ends the current hold, without a release.
    #[cold]
    pub(crate) fn destroyed(&self, open: &Slots, now: u64) {
        if let Some(account) = self.holder() {
            self.tally.hold_ended(account.stops_holding(open, now), false);
            self.holder.store(NONE, Relaxed);
            sink::report(account, Event::HoldEnded, now);
        }
        if !self.is_main() {
            // The entry stays in the table for the windows that need it, but searches no longer find it.
            self.address.store(0, Relaxed);
        }
        self.ended.store(now.max(open.cut()), Release);
    }

    /// Records that a forked child of 2.7 has created its GIL again, at `semaphore`.
    #[cold]
    pub(crate) fn moved_to(&self, semaphore: usize, open: &Slots, session: u64, now: u64) {
        self.created_anew(open, session, now);
        self.address.store(semaphore, Relaxed);
    }

    /// Returns the account of the holder.
    #[inline]
    pub(crate) fn holder(&self) -> Option<&'static Account> {
        // SAFETY: null, or an account. Accounts are never freed.
        unsafe { self.holder.load(Relaxed).as_ref() }
    }

    /// Returns the number of switches so far.
    #[inline]
    pub(crate) fn switches(&self) -> u64 {
        self.switches.load(Relaxed)
    }

    /// Records that a wait has timed out. If the same thread has held the GIL throughout the wait, `take_gil` requests
    /// a drop.
    #[inline]
    pub(crate) fn timed_out(&self, switches_before: u64) {
        if self.switches() == switches_before && !self.holder.load(Relaxed).is_null() {
            self.drop_requested.store(true, Relaxed);
        }
    }

    /// Returns true if a drop was requested since the latest acquire.
    #[inline]
    pub(crate) fn is_drop_requested(&self) -> bool {
        self.drop_requested.load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hold_lasts_from_the_acquire_to_the_release() {
        let (open, gil, account) = (Slots::new(), Gil::new(), Account::leak(0, 7));
        gil.acquired(account, &open, 100);
        assert!(std::ptr::eq(gil.holder().unwrap(), account));
        gil.released(&open, 1, 140, false);
        assert!(gil.holder().is_none());
        assert_eq!((account.figures().held, account.acquisitions(), account.voluntary_releases()), (40, 1, 1));
        assert_eq!((gil.metered_since(), gil.session()), (100, 1));
    }

    #[test]
    fn a_release_of_an_unknown_hold_only_begins_the_metering() {
        let (open, gil, account) = (Slots::new(), Gil::new(), Account::leak(0, 7));
        gil.released(&open, 1, 100, false);
        assert_eq!((gil.metered_since(), gil.session(), account.figures().held), (100, 1, 0));
        gil.released(&open, 1, 120, false);
        assert_eq!(gil.metered_since(), 100);
    }

    #[test]
    fn a_switch_is_an_acquire_by_another_thread_than_before() {
        let (open, gil) = (Slots::new(), Gil::new());
        let [one, other] = [7, 8].map(|tid| Account::leak(0, tid));
        for account in [one, one, other, one] {
            gil.acquired(account, &open, 100);
            gil.released(&open, 1, 110, false);
        }
        assert_eq!(gil.switches(), 3);
    }

    #[test]
    fn a_wait_that_times_out_requests_a_drop_unless_the_holder_has_changed() {
        let (open, gil) = (Slots::new(), Gil::new());
        let [one, other] = [7, 8].map(|tid| Account::leak(0, tid));
        gil.acquired(one, &open, 100);
        let before = gil.switches();
        gil.released(&open, 1, 110, false);
        gil.timed_out(before);
        assert!(!gil.is_drop_requested(), "nobody holds it");
        gil.acquired(other, &open, 120);
        gil.timed_out(before);
        assert!(!gil.is_drop_requested(), "another thread holds it");
        gil.timed_out(gil.switches());
        assert!(gil.is_drop_requested());
        gil.released(&open, 1, 130, true);
        gil.acquired(one, &open, 130);
        assert!(!gil.is_drop_requested(), "the request was met");
    }

    #[test]
    fn a_wait_for_the_mutex_counts_only_if_the_thread_can_not_be_the_unknown_holder() {
        let (open, gil) = (Slots::new(), Gil::new());
        let [unknown, other] = [7, 8].map(|tid| Account::leak(0, tid));
        // It has held the GIL since before the start, and is about to release it.
        gil.waited_for_mutex(unknown, &open, 100);
        gil.released(&open, 1, 110, false);
        assert_eq!(unknown.figures().waits_since, 0);
        gil.acquired(other, &open, 120);
        gil.waited_for_mutex(other, &open, 130);
        gil.waited_for_mutex(unknown, &open, 140);
        assert_eq!([other, unknown].map(|account| account.figures().waits_since), [0, 140]);
    }

    #[test]
    fn an_event_that_learns_of_a_cut_counts_as_after_it() {
        let (open, gil, account) = (Slots::new(), Gil::new(), Account::leak(0, 7));
        open.cut_at(200, None);
        gil.acquired(account, &open, 190);
        assert_eq!((gil.metered_since(), account.figures().holds_since), (200, 200));
        gil.released(&open, 1, 195, false);
        assert_eq!(account.figures().held, 0);
    }

    #[test]
    fn a_gil_that_is_destroyed_is_no_longer_found_at_its_address() {
        let (open, gil, account) = (Slots::new(), Gil::new(), Account::leak(3, 7));
        gil.place(3, 0x1000, 5);
        gil.acquired(account, &open, 100);
        gil.destroyed(&open, 130);
        assert_eq!((account.figures().held, account.forced_drops(), gil.address()), (30, 0, 0));
        assert_eq!(gil.ended(), Some(130));
        // The main GIL is created again at the same address, or in 2.7 at another address.
        gil.place(0, 0x1000, 0);
        gil.created_anew(&open, 1, 140);
        assert!(gil.is_at(0x1000));
        gil.moved_to(0x2000, &open, 1, 150);
        assert!(gil.is_at(0x2000));
    }

    #[test]
    fn a_gil_in_the_place_of_another_one_has_none_of_its_long_holds() {
        let (open, gil, account) = (Slots::new(), Gil::new(), Account::leak(3, 7));
        gil.place(3, 0x1000, 5);
        open.note_holds(Some(10), || 1000);
        gil.acquired(account, &open, 10_000);
        gil.released(&open, 1, 10_050, false);
        assert_eq!(gil.noted_so_far(), 1);
        gil.place(3, 0x2000, 6);
        assert_eq!(gil.noted_so_far(), 0);
    }

    #[test]
    fn a_hold_ends_with_its_gil_and_the_main_gil_may_be_created_again() {
        let (open, gil, account) = (Slots::new(), Gil::new(), Account::leak(0, 7));
        gil.place(0, 0x1000, 0);
        gil.acquired(account, &open, 100);
        gil.destroyed(&open, 130);
        assert_eq!((account.figures().held, account.voluntary_releases(), account.forced_drops()), (30, 0, 0));
        assert!(gil.holder().is_none() && gil.is_at(0x1000) && gil.ended() == Some(130));
        gil.created_anew(&open, 1, 150);
        gil.acquired(account, &open, 150);
        assert!(gil.ended().is_none() && gil.holder().is_some());
    }

    #[test]
    fn a_recycled_account_counts_as_another_holder() {
        let (open, gil, account) = (Slots::new(), Gil::new(), Account::leak(0, 7));
        gil.acquired(account, &open, 100);
        gil.released(&open, 1, 110, false);
        account.begin(99, 0, 8, 1);
        gil.acquired(account, &open, 120);
        assert_eq!(gil.switches(), 2);
    }
}
