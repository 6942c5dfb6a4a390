//! One GIL, with its holder and the start of the current hold. Only the holder writes here, so there is one writer at a
//! time.

use super::account::{Account, NONE};
use super::single_writer::{Sequence, add};
use super::slots::Slots;
use std::sync::atomic::Ordering::{self, Relaxed};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize};

/// One GIL. Zeroed memory is an unused GIL.
#[repr(C, align(128))]
pub(crate) struct Gil {
    /// The address of `cond`, or of 2.7's semaphore.
    address: AtomicUsize,
    /// Protects the holder and the accounts against reads during a write.
    sequence: Sequence,
    holder: AtomicPtr<Account>,
    /// The start of the current hold.
    since: AtomicU64,
    /// The latest holder. An acquire by any other thread counts as a switch.
    last: AtomicPtr<Account>,
    switches: AtomicU64,
    drop_requested: AtomicBool,
    /// The index in the table of GILs.
    index: AtomicU32,
    /// The time of the GIL's first event in this session, in ticks; 0 if it had none.
    metered_since: AtomicU64,
    session: AtomicU64,
    /// The id of its interpreter.
    interpreter: AtomicI64,
    /// The head of the list of its accounts.
    accounts: AtomicPtr<Account>,
}

impl Gil {
    pub(super) const fn new() -> Self {
        Self {
            address: AtomicUsize::new(0),
            sequence: Sequence::new(),
            holder: AtomicPtr::new(NONE),
            since: AtomicU64::new(0),
            last: AtomicPtr::new(NONE),
            switches: AtomicU64::new(0),
            drop_requested: AtomicBool::new(false),
            index: AtomicU32::new(0),
            metered_since: AtomicU64::new(0),
            session: AtomicU64::new(0),
            interpreter: AtomicI64::new(0),
            accounts: AtomicPtr::new(NONE),
        }
    }

    /// Makes this the GIL at `address`.
    pub(super) fn place(&self, index: u32, address: usize, interpreter: i64) {
        self.index.store(index, Relaxed);
        self.interpreter.store(interpreter, Relaxed);
        self.address.store(address, Relaxed);
    }

    /// Returns the index in the table of GILs.
    #[inline]
    pub(super) fn index(&self) -> u32 {
        self.index.load(Relaxed)
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
    pub(super) fn interpreter(&self) -> i64 {
        self.interpreter.load(Relaxed)
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
        self.metered_since.load(Relaxed)
    }

    /// Adds `account` to the list. Several waiting threads may do this at the same time.
    pub(super) fn list(&self, account: &'static Account) {
        let this = (&raw const *account).cast_mut();
        let mut first = self.accounts.load(Relaxed);
        loop {
            account.set_next(first);
            match self.accounts.compare_exchange_weak(first, this, Ordering::Release, Relaxed) {
                Ok(_) => return,
                Err(now) => first = now,
            }
        }
    }

    /// Returns its accounts, of this session and of earlier ones.
    pub(super) fn accounts(&self) -> impl Iterator<Item = &'static Account> {
        // SAFETY: null, or an account. Accounts are never freed, and the list only grows at its head.
        let first = unsafe { self.accounts.load(Ordering::Acquire).as_ref() };
        // SAFETY: as above.
        std::iter::successors(first, |account| unsafe { account.next().as_ref() })
    }

    /// Records an acquire by the thread of `account`, which is the calling thread.
    #[inline]
    pub(crate) fn acquired(&self, account: &'static Account, open: &Slots, now: u64) {
        self.sequence.write(|| {
            account.acquired(open, now);
            self.held_by(account, now);
        });
    }

    /// Records a release by the holder, voluntary or on request. If no holder is known, metering begins.
    #[inline]
    pub(crate) fn released(&self, open: &Slots, session: u64, now: u64, is_forced: bool) {
        let Some(account) = self.holder() else { return self.first_event(session, now) };
        self.sequence.write(|| {
            account.released(open, self.since(), now, is_forced);
            self.holder.store(NONE, Relaxed);
        });
    }

    #[cold]
    fn first_event(&self, session: u64, now: u64) {
        self.belong_to(session);
        if self.metered_since() == 0 {
            self.metered_since.store(now, Relaxed);
        }
    }

    #[inline]
    fn held_by(&self, account: &'static Account, now: u64) {
        if self.metered_since() == 0 {
            self.first_event(account.session(), now);
        }
        let account = (&raw const *account).cast_mut();
        if self.last.load(Relaxed) != account {
            self.last.store(account, Relaxed);
            add(&self.switches, 1);
        }
        if self.drop_requested.load(Relaxed) {
            self.drop_requested.store(false, Relaxed);
        }
        self.since.store(now, Relaxed);
        self.holder.store(account, Relaxed);
    }

    /// Begins metering with a holder whose acquire was not recorded.
    pub(crate) fn seed(&self, account: &'static Account, now: u64) {
        self.begin(account.session(), now);
        self.held_by(account, now);
    }

    /// Begins metering.
    pub(crate) fn begin(&self, session: u64, now: u64) {
        self.belong_to(session);
        self.metered_since.store(now, Relaxed);
    }

    /// Resets the GIL, except for its address, index and interpreter.
    pub(crate) fn reset(&self) {
        self.holder.store(NONE, Relaxed);
        self.last.store(NONE, Relaxed);
        self.metered_since.store(0, Relaxed);
        self.drop_requested.store(false, Relaxed);
        self.sequence.end_cut_off_write();
    }

    /// Records that the GIL is being created again at the same address: by a forked child (`_PyEval_ReInitThreads`), or
    /// for another interpreter.
    #[cold]
    pub(crate) fn created_anew(&self, open: &Slots, session: u64, now: u64) {
        if self.holder().is_some() {
            self.released(open, session, now, true);
        }
        if self.index() != 0 {
            // The entry stays in the table, but searches no longer find it.
            self.address.store(0, Relaxed);
        }
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

    /// Returns the start of the current hold.
    #[inline]
    pub(super) fn since(&self) -> u64 {
        self.since.load(Relaxed)
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

    /// Returns the result of `body`, which reads the GIL and its accounts, all at the same moment.
    pub(super) fn consistent<T>(&self, body: impl FnMut() -> T) -> T {
        self.sequence.read(body)
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
        assert_eq!((account.held(), account.acquisitions(), account.voluntary_releases()), (40, 1, 1));
        assert_eq!((gil.metered_since(), gil.session()), (100, 1));
    }

    #[test]
    fn a_release_of_an_unknown_hold_only_begins_the_metering() {
        let (open, gil, account) = (Slots::new(), Gil::new(), Account::leak(0, 7));
        gil.released(&open, 1, 100, false);
        assert_eq!((gil.metered_since(), gil.session(), account.held()), (100, 1, 0));
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
    fn a_read_is_repeated_if_the_gil_is_acquired_or_released_meanwhile() {
        let (open, gil, account) = (Slots::new(), Gil::new(), Account::leak(0, 7));
        let read = |event: &dyn Fn()| {
            let mut is_first = true;
            gil.consistent(|| {
                let is_held = gil.holder().is_some();
                if std::mem::take(&mut is_first) {
                    event();
                }
                (is_held, account.acquisitions(), account.voluntary_releases(), account.held())
            })
        };
        assert_eq!(read(&|| gil.acquired(account, &open, 100)), (true, 1, 0, 0));
        assert_eq!(read(&|| gil.released(&open, 1, 140, false)), (false, 1, 1, 40));
    }

    #[test]
    fn a_gil_that_is_created_anew_is_no_longer_found_at_its_address() {
        let (open, gil, account) = (Slots::new(), Gil::new(), Account::leak(3, 7));
        gil.place(3, 0x1000, 5);
        gil.acquired(account, &open, 100);
        gil.created_anew(&open, 1, 130);
        assert_eq!((account.held(), account.forced_drops(), gil.address()), (30, 1, 0));
        // The main GIL is created again at the same address, or in 2.7 at another address.
        gil.place(0, 0x1000, 0);
        gil.created_anew(&open, 1, 140);
        assert!(gil.is_at(0x1000));
        gil.moved_to(0x2000, &open, 1, 150);
        assert!(gil.is_at(0x2000));
    }
}
