//! The GILs of this process: the one under which the meter was started, and those of interpreters with their own.
//! What one releases or acquires is booked here, and always by one thread at a time: the one that holds that GIL.

use super::ledger::{self, Account, NONE, SESSION, add};
use super::{memory, python};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicPtr, AtomicU64, AtomicUsize, Ordering};
use std::sync::atomic::{Ordering::Relaxed, fence};

/// GILs in a process's life.
pub(super) const GILS: usize = 1024;
/// Places to find them by their cond; more than twice as many, so that searches stay short.
const PLACES: usize = 4096;
/// From `cond` to `switch_cond` in `struct _gil_runtime_state` (3.7 on, glibc on x86-64); calibration checks it.
pub(super) const SWITCH_COND: usize = 88;
/// From `cond` back to `last_holder`, and to `locked` behind it.
pub(super) const LAST_HOLDER: usize = 24;
/// From a PyThreadState to its `interp`; calibration checks it.
pub(super) const INTERP: usize = 16;

static TABLE: [Gil; GILS] = [const { Gil::new() }; GILS];
static USED: AtomicUsize = AtomicUsize::new(0);
/// Indexes into the table, plus 1, by hash of cond; GIL 0 is found without.
static BY_COND: [AtomicUsize; PLACES] = [const { AtomicUsize::new(0) }; PLACES];
/// From a PyInterpreterState to the cond of its own GIL; 0 if unknown or if there are no own GILs.
static TO_COND: AtomicUsize = AtomicUsize::new(0);
static INTERPRETER_ID: AtomicUsize = AtomicUsize::new(0);
static UNLISTED: AtomicU64 = AtomicU64::new(0);

/// One GIL. `sequence` is odd while the rest is being written.
#[repr(C, align(128))]
pub(super) struct Gil {
    /// The address of `cond`, or of 2.7's semaphore.
    cond: AtomicUsize,
    sequence: AtomicU64,
    pub(super) holder: AtomicPtr<Account>,
    pub(super) since: AtomicU64,
    /// Who held it last: another one counts as a switch.
    last: AtomicPtr<Account>,
    switches: AtomicU64,
    drop_requested: AtomicBool,
    /// When metering of it began, in ticks; 0 before its first event.
    pub(super) metered_since: AtomicU64,
    pub(super) session: AtomicU64,
    pub(super) interpreter: AtomicI64,
    pub(super) accounts: AtomicPtr<Account>,
}

/// What a signalled cond means.
#[derive(Clone, Copy)]
pub(super) enum Meaning {
    Release,
    Acquire,
}

/// GIL 0, the calibrated one.
#[inline]
pub(super) fn main() -> &'static Gil {
    &TABLE[0]
}

/// Those that were met, in this session or before.
pub(super) fn all() -> &'static [Gil] {
    &TABLE[..USED.load(Ordering::Acquire).min(GILS)]
}

/// How many found no room.
pub(super) fn unlisted() -> u64 {
    UNLISTED.load(Relaxed)
}

/// Makes `cond` GIL 0, held by the calling thread, and learns what leads to the others.
pub(super) fn calibrated(cond: usize, interpreter: i64, to_cond: Option<usize>, now: u64) {
    let id = python::interpreter_id().map_or(0, |function| function as usize);
    INTERPRETER_ID.store(id, Relaxed);
    TO_COND.store(to_cond.unwrap_or(0), Relaxed);
    let main = main();
    main.cond.store(cond, Relaxed);
    main.interpreter.store(interpreter, Relaxed);
    USED.fetch_max(1, Ordering::Release);
    for gil in all() {
        gil.rest();
    }
    main.seed(ledger::own(main), now);
}

/// The GIL that a signalled cond belongs to, and which of its two it is.
#[inline]
pub(super) fn by_cond(address: usize) -> Option<(&'static Gil, Meaning)> {
    let main = main();
    match address.wrapping_sub(main.cond.load(Relaxed)) {
        0 => Some((main, Meaning::Release)),
        SWITCH_COND => Some((main, Meaning::Acquire)),
        _ if TO_COND.load(Relaxed) == 0 => None,
        _ => other_by_cond(address),
    }
}

#[inline(never)]
fn other_by_cond(address: usize) -> Option<(&'static Gil, Meaning)> {
    if let Some(gil) = find(address) {
        return Some((gil, Meaning::Release));
    }
    let cond = address.wrapping_sub(SWITCH_COND);
    find(cond).or_else(|| met(cond)).map(|gil| (gil, Meaning::Acquire))
}

fn places(cond: usize) -> impl Iterator<Item = &'static AtomicUsize> {
    let start = (cond >> 3).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 52;
    (0..PLACES).map(move |step| &BY_COND[(start + step) % PLACES])
}

fn find(cond: usize) -> Option<&'static Gil> {
    let indexes = places(cond).map(|place| place.load(Ordering::Acquire)).take_while(|index| *index != 0);
    indexes.map(|index| &TABLE[index - 1]).find(|gil| gil.cond.load(Relaxed) == cond)
}

/// A GIL that was not known, if the cond beside its `switch_cond` is one: held, by a thread state of the very
/// interpreter that the cond would belong to.
#[cold]
fn met(cond: usize) -> Option<&'static Gil> {
    let interpreter = cond.wrapping_sub(TO_COND.load(Relaxed));
    let [holder, locked] = memory::words::<2>(cond.wrapping_sub(LAST_HOLDER))?;
    if holder == 0 || locked as u32 != 1 || memory::words::<1>(holder + INTERP)? != [interpreter] {
        return None;
    }
    enter(cond, interpreter)
}

/// Enters the own GIL of `interpreter`, if it has one. Before its first event it counts as not metered.
pub(super) fn enter_own_gil(interpreter: usize) {
    let cond = interpreter.wrapping_add(TO_COND.load(Relaxed));
    // Not created: locked is -1 (`_gil_initialize`).
    let is_created = memory::words::<2>(cond - LAST_HOLDER).is_some_and(|[_, locked]| matches!(locked as u32, 0 | 1));
    if is_created && find(cond).is_none() && cond != main().cond.load(Relaxed) {
        enter(cond, interpreter);
    }
}

fn enter(cond: usize, interpreter: usize) -> Option<&'static Gil> {
    let index = USED.load(Relaxed);
    let index = if index < GILS { USED.fetch_add(1, Ordering::AcqRel) } else { index };
    if index >= GILS {
        add(&UNLISTED, 1);
        return None;
    }
    let gil = &TABLE[index];
    let id = INTERPRETER_ID.load(Relaxed);
    if id != 0 {
        // SAFETY: PyInterpreterState_GetID reads a field of an interpreter that is alive: one of its threads is right here,
        // or the list of interpreters just had it.
        let id = unsafe { std::mem::transmute::<usize, unsafe extern "C" fn(usize) -> i64>(id)(interpreter) };
        gil.interpreter.store(id, Relaxed);
    }
    gil.session.store(SESSION.load(Relaxed), Relaxed);
    gil.cond.store(cond, Relaxed);
    let free = |place: &&AtomicUsize| place.compare_exchange(0, index + 1, Ordering::AcqRel, Relaxed).is_ok();
    places(cond).find(free).map(|_| gil)
}

impl Gil {
    const fn new() -> Self {
        Self {
            cond: AtomicUsize::new(0),
            sequence: AtomicU64::new(0),
            holder: AtomicPtr::new(null_mut()),
            since: AtomicU64::new(0),
            last: AtomicPtr::new(null_mut()),
            switches: AtomicU64::new(0),
            drop_requested: AtomicBool::new(false),
            metered_since: AtomicU64::new(0),
            session: AtomicU64::new(0),
            interpreter: AtomicI64::new(0),
            accounts: AtomicPtr::new(null_mut()),
        }
    }

    pub(super) fn index(&self) -> usize {
        (&raw const *self as usize - TABLE.as_ptr() as usize) / size_of::<Self>()
    }

    /// Puts `account` on the list. Threads that wait may do so at the same time.
    pub(super) fn list(&self, account: &'static Account) {
        let account = (&raw const *account).cast_mut();
        let mut first = self.accounts.load(Relaxed);
        loop {
            // SAFETY: an account; they are never freed.
            unsafe { &*account }.next.store(first, Relaxed);
            match self.accounts.compare_exchange_weak(first, account, Ordering::Release, Relaxed) {
                Ok(_) => return,
                Err(now) => first = now,
            }
        }
    }

    /// True if this is the one whose `cond`, or 2.7's semaphore, is at `address`.
    #[inline]
    pub(super) fn is_at(&self, address: usize) -> bool {
        self.cond.load(Relaxed) == address
    }

    /// The calling thread has acquired it.
    #[inline]
    pub(super) fn acquired(&'static self, now: u64) {
        let account = ledger::own(self);
        self.write(|| {
            account.ends_wait(now);
            add(&account.acquisitions, 1);
            self.held_by(account, now);
        });
    }

    /// Its holder gives it up: by itself, or since it was asked to.
    #[inline]
    pub(super) fn released(&'static self, now: u64, is_forced: bool) {
        // SAFETY: null, or an account.
        let Some(account) = (unsafe { self.holder.load(Relaxed).as_ref() }) else { return self.first_event(now) };
        self.write(|| {
            account.held_from(self.since.load(Relaxed), now);
            add(if is_forced { &account.forced_drops } else { &account.voluntary_releases }, 1);
            account.was_forced.store(is_forced, Relaxed);
            self.holder.store(NONE, Relaxed);
        });
    }

    #[cold]
    fn first_event(&self, now: u64) {
        self.session.store(SESSION.load(Relaxed), Relaxed);
        if self.metered_since.load(Relaxed) == 0 {
            self.metered_since.store(now, Relaxed);
        }
    }

    #[inline]
    fn held_by(&self, account: &'static Account, now: u64) {
        let account = (&raw const *account).cast_mut();
        if self.metered_since.load(Relaxed) == 0 {
            self.first_event(now);
        }
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

    /// Held by `account` without an acquire having been seen.
    pub(super) fn seed(&self, account: &'static Account, now: u64) {
        self.metered_since.store(now, Relaxed);
        self.session.store(SESSION.load(Relaxed), Relaxed);
        self.held_by(account, now);
    }

    /// Nothing is known of it but its place.
    pub(super) fn rest(&self) {
        self.holder.store(NONE, Relaxed);
        self.last.store(NONE, Relaxed);
        self.metered_since.store(0, Relaxed);
        self.drop_requested.store(false, Relaxed);
        // Where a fork came in the middle of another thread's writing.
        self.sequence.store(self.sequence.load(Relaxed) & !1, Relaxed);
    }

    /// It is being created anew at the same place: by a forked child (`_PyEval_ReInitThreads`), or for another interpreter.
    #[cold]
    pub(super) fn created_anew(&'static self, now: u64) {
        if !self.holder.load(Relaxed).is_null() {
            self.released(now, true);
        }
        if self.index() != 0 {
            // Stays where searches pass, but is no longer found.
            self.cond.store(0, Relaxed);
        }
    }

    /// 2.7's forked child has made itself a new semaphore.
    #[cold]
    pub(super) fn moved_to(&'static self, semaphore: usize, now: u64) {
        self.created_anew(now);
        self.cond.store(semaphore, Relaxed);
    }

    /// The number of switches so far.
    #[inline]
    pub(super) fn switches(&self) -> u64 {
        self.switches.load(Relaxed)
    }

    /// As `take_gil` asks for a drop: a wait has timed out, and all the time the same thread held it.
    #[inline]
    pub(super) fn timed_out(&self, switches_before: u64) {
        if self.switches() == switches_before && !self.holder.load(Relaxed).is_null() {
            self.drop_requested.store(true, Relaxed);
        }
    }

    #[inline]
    pub(super) fn is_drop_requested(&self) -> bool {
        self.drop_requested.load(Relaxed)
    }

    /// Lets a reader see all of what `body` writes or nothing (a sequence lock; Boehm, "Can seqlocks get along with
    /// programming language memory models?", MSPC 2012).
    #[inline]
    fn write(&self, body: impl FnOnce()) {
        let sequence = self.sequence.load(Relaxed);
        self.sequence.store(sequence + 1, Relaxed);
        fence(Ordering::Release);
        body();
        self.sequence.store(sequence + 2, Ordering::Release);
    }

    /// What `body` reads, all from one moment; from several, where events come faster than they can be read.
    pub(super) fn consistent<T>(&self, mut body: impl FnMut() -> T) -> T {
        const TRIES: usize = 1000;
        for _ in 0..TRIES {
            let before = self.sequence.load(Ordering::Acquire);
            if before % 2 == 1 {
                std::hint::spin_loop();
                continue;
            }
            let result = body();
            fence(Ordering::Acquire);
            if self.sequence.load(Relaxed) == before {
                return result;
            }
        }
        body()
    }
}
