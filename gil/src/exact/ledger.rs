//! The accounts: one for each thread and GIL, written only by that thread, by plain stores. The memory is reserved once
//! and touched as threads come; nothing is allocated or freed while metering.

use super::gils::{GILS, Gil};
use super::thread;
use super::window::{self, Best, WINDOWS};
use crate::Refusal;
use std::io;
use std::ptr::{null, null_mut};
use std::sync::atomic::Ordering::{self, Relaxed};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, fence};

/// Accounts in a process's life. What threads beyond do goes to one account a GIL, that of thread 0.
const ACCOUNTS: usize = 65_536;

static POOL: AtomicPtr<Account> = AtomicPtr::new(null_mut());
static USED: AtomicUsize = AtomicUsize::new(0);
/// Grows with every start from rest and in every forked child; 0 before the first. An account of a former session is empty.
pub(super) static SESSION: AtomicU64 = AtomicU64::new(0);

/// What one thread did with one GIL, in ticks.
#[repr(C, align(64))]
pub(super) struct Account {
    pub(super) gil: AtomicPtr<Gil>,
    pub(super) session: AtomicU64,
    pub(super) held: AtomicU64,
    pub(super) acquisitions: AtomicU64,
    pub(super) longest_hold: Longest,
    pub(super) voluntary_releases: AtomicU64,
    pub(super) forced_drops: AtomicU64,
    /// When the wait began that goes on; 0 if none.
    pub(super) waits_since: AtomicU64,
    pub(super) waited: AtomicU64,
    pub(super) waits: AtomicU64,
    pub(super) longest_wait: Longest,
    /// Odd while a wait is being booked without the GIL being acquired.
    wait_sequence: AtomicU64,
    /// The latest wait for another thread to take the GIL: when it began and ended.
    handover: [AtomicU64; 2],
    /// True if the latest release was forced: then that wait is the beginning of the wait for the GIL.
    pub(super) was_forced: AtomicBool,
    pub(super) tid: AtomicU32,
    /// The next account of the same GIL.
    pub(super) next: AtomicPtr<Account>,
    /// The next account of the same thread, round in a ring.
    sibling: AtomicPtr<Account>,
    /// The longest in each open window.
    pub(super) best: [Best; WINDOWS],
}

/// The longest hold, or the longest wait, in ticks.
#[repr(C)]
pub(super) struct Longest {
    pub(super) ever: AtomicU64,
    /// In this epoch no window wants to know of one that is no longer.
    floor: AtomicU64,
    epoch: AtomicU64,
}

impl Longest {
    /// Takes one from `since` to `now` into account, also in the open windows.
    #[inline]
    fn book(&self, best: &[Best; WINDOWS], which: fn(&Best) -> &AtomicU64, since: u64, now: u64) {
        let length = now.saturating_sub(since);
        if length > self.ever.load(Relaxed) {
            self.ever.store(length, Relaxed);
        }
        if length > self.floor.load(Relaxed) || self.epoch.load(Relaxed) != window::epoch() {
            window::note(best, which, since, now, &self.floor, &self.epoch);
        }
    }
}

/// One writer at a time: what a locked instruction would guard against can't happen.
#[inline]
pub(super) fn add(counter: &AtomicU64, more: u64) {
    counter.store(counter.load(Relaxed) + more, Relaxed);
}

/// Reserves the memory, once.
pub(super) fn reserve() -> Result<(), Refusal> {
    if !POOL.load(Relaxed).is_null() {
        return Ok(());
    }
    let bytes = (ACCOUNTS + GILS) * size_of::<Account>();
    let rights = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    // SAFETY: new memory, at an address of the kernel's choice; full of zeros, which is an empty account.
    let pool = unsafe { libc::mmap(null_mut(), bytes, rights, flags, -1, 0) };
    if pool == libc::MAP_FAILED {
        return Err(Refusal::System(
            "reserving address space for the accounts",
            io::Error::last_os_error().to_string(),
        ));
    }
    POOL.store(pool.cast(), Relaxed);
    Ok(())
}

/// The calling thread's account with `gil`, of this session.
#[inline]
pub(super) fn own(gil: &'static Gil) -> &'static Account {
    // SAFETY: null, or an account; they are never freed.
    match unsafe { thread::account().as_ref() } {
        Some(account)
            if account.gil.load(Relaxed).cast_const() == &raw const *gil
                && account.session.load(Relaxed) == SESSION.load(Relaxed) =>
        {
            account
        }
        _ => search(gil),
    }
}

#[cold]
#[inline(never)]
fn search(gil: &'static Gil) -> &'static Account {
    let first = thread::account();
    let mut account = first;
    // SAFETY: null, or an account of the ring; they are never freed.
    while let Some(found) = unsafe { account.as_ref() } {
        if found.gil.load(Relaxed).cast_const() == &raw const *gil {
            if found.session.load(Relaxed) != SESSION.load(Relaxed) {
                found.begin();
            }
            thread::set_account(found);
            return found;
        }
        account = found.sibling.load(Relaxed);
        if account == first {
            break;
        }
    }
    create(gil, first)
}

/// A new account in the ring of `sibling`; the GIL's common one where the memory is used up.
fn create(gil: &'static Gil, sibling: *const Account) -> &'static Account {
    let index = USED.load(Relaxed);
    let index = if index < ACCOUNTS { USED.fetch_add(1, Relaxed) } else { index };
    if index >= ACCOUNTS {
        return common(gil);
    }
    // SAFETY: inside the pool.
    let account = unsafe { &*POOL.load(Relaxed).add(index) };
    account.gil.store((&raw const *gil).cast_mut(), Relaxed);
    account.begin();
    // SAFETY: null, or an account.
    match unsafe { sibling.as_ref() } {
        None => account.sibling.store((&raw const *account).cast_mut(), Relaxed),
        Some(sibling) => {
            account.sibling.store(sibling.sibling.load(Relaxed), Relaxed);
            sibling.sibling.store((&raw const *account).cast_mut(), Relaxed);
        }
    }
    gil.list(account);
    thread::set_account(account);
    account
}

fn common(gil: &'static Gil) -> &'static Account {
    // SAFETY: inside the pool, behind the threads' own.
    let account = unsafe { &*POOL.load(Relaxed).add(ACCOUNTS + gil.index()) };
    if account.session.load(Relaxed) != SESSION.load(Relaxed) {
        let is_new = account.gil.load(Relaxed).is_null();
        account.gil.store((&raw const *gil).cast_mut(), Relaxed);
        account.begin();
        account.tid.store(0, Relaxed);
        if is_new {
            gil.list(account);
        }
    }
    account
}

impl Account {
    /// Empties it for a new session.
    pub(super) fn begin(&self) {
        let counters = [
            &self.held,
            &self.acquisitions,
            &self.longest_hold.ever,
            &self.longest_hold.epoch,
            &self.voluntary_releases,
            &self.forced_drops,
            &self.waits_since,
            &self.waited,
            &self.waits,
            &self.longest_wait.ever,
            &self.longest_wait.epoch,
            &self.handover[1],
        ];
        counters.into_iter().for_each(|counter| counter.store(0, Relaxed));
        // Where a fork came in the middle.
        self.wait_sequence.store(0, Relaxed);
        self.tid.store(thread::tid(), Relaxed);
        self.session.store(SESSION.load(Relaxed), Ordering::Release);
    }

    /// True if several threads share it: then nobody's waits can be told.
    pub(super) fn is_common(&self) -> bool {
        self.tid.load(Relaxed) == 0
    }

    /// Books a hold from `since` to `now`.
    #[inline]
    pub(super) fn held_from(&self, since: u64, now: u64) {
        // Counters of two cores may differ by some ticks.
        add(&self.held, now.saturating_sub(since));
        self.longest_hold.book(&self.best, Best::hold, since, now);
    }

    /// Books the wait that ends at `now`, if one was begun.
    #[inline]
    pub(super) fn ends_wait(&self, now: u64) {
        let since = self.waits_since.load(Relaxed);
        if since == 0 {
            return;
        }
        add(&self.waited, now.saturating_sub(since));
        add(&self.waits, 1);
        self.longest_wait.book(&self.best, Best::wait, since, now);
        self.waits_since.store(0, Relaxed);
    }

    /// Marks the begin of a wait, unless it goes on already: since the handover, if nothing lay between.
    #[inline]
    pub(super) fn begins_wait(&self, now: u64) {
        if self.waits_since.load(Relaxed) != 0 || self.is_common() {
            return;
        }
        let [began, ended] = [&self.handover[0], &self.handover[1]].map(|time| time.load(Relaxed));
        if ended == 0 || !self.was_forced.load(Relaxed) || now.saturating_sub(ended) > SAME_WAIT {
            self.waits_since.store(now, Relaxed);
            return;
        }
        self.write_wait(|| {
            self.waited.store(self.waited.load(Relaxed).saturating_sub(ended - began), Relaxed);
            self.waits.store(self.waits.load(Relaxed).saturating_sub(1), Relaxed);
            self.waits_since.store(began, Relaxed);
        });
        self.handover[1].store(0, Relaxed);
    }

    /// Another thread has taken the GIL that this one gave up.
    #[inline]
    pub(super) fn ends_handover(&self, now: u64) {
        let since = self.waits_since.load(Relaxed);
        if since == 0 {
            return;
        }
        self.write_wait(|| self.ends_wait(now));
        self.handover[0].store(since, Relaxed);
        self.handover[1].store(now.max(since), Relaxed);
    }

    /// As `Gil::write`, of what is written without holding the GIL.
    #[inline]
    fn write_wait(&self, body: impl FnOnce()) {
        let sequence = self.wait_sequence.load(Relaxed);
        self.wait_sequence.store(sequence + 1, Relaxed);
        fence(Ordering::Release);
        body();
        self.wait_sequence.store(sequence + 2, Ordering::Release);
    }

    /// What it waited, and since when it does, both from one moment.
    pub(super) fn waits_now(&self) -> (u64, u64, Option<u64>) {
        const TRIES: usize = 1000;
        let mut waits = (0, 0, None);
        for _ in 0..TRIES {
            let before = self.wait_sequence.load(Ordering::Acquire);
            let since = self.waits_since.load(Relaxed);
            waits = (self.waited.load(Relaxed), self.waits.load(Relaxed), (since != 0).then_some(since));
            fence(Ordering::Acquire);
            if before.is_multiple_of(2) && self.wait_sequence.load(Relaxed) == before {
                break;
            }
        }
        waits
    }
}

/// Ticks, some 100 µs: a thread that was forced to release goes straight from the handover to the wait for the GIL.
const SAME_WAIT: u64 = 1 << 18;

/// No account.
pub(super) const NONE: *mut Account = null::<Account>().cast_mut();
