//! The calling thread's own account, from its first event to its end.

use super::super::memory::keep_errno;
use super::super::{clock, thread};
use super::account::Account;
use super::blocks::Blocks;
use super::capacity;
use super::gil::Gil;
use super::gils::GILS;
use super::lock::Guard;
use super::registry::{Lists, Registry};
use super::sink::{self, Event};
use super::slots::OPEN;
use crate::refusal::Refusal;
use std::ptr::null;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicU32, AtomicU64};

pub(super) static REGISTRY: Registry = Registry::new();
static BLOCKS: Blocks = Blocks::new();
/// The current session: increases when a stopped meter is started, and in every forked child; 0 before the first start.
static SESSION: AtomicU64 = AtomicU64::new(0);
/// The number of accounts that were ever begun, which are the rows' numbers.
static BEGUN: AtomicU64 = AtomicU64::new(0);
/// The number of threads for which there was no memory.
static UNLISTED: AtomicU64 = AtomicU64::new(0);
/// The key of pthread_key_create(3) whose destructor learns of a thread's end, plus 1.
static KEY: AtomicU32 = AtomicU32::new(0);

/// The account of all threads without memory for their own one. Its figures are nobody's, and are not read.
static NOBODY: Account = Account::new();

/// Returns the current session.
#[inline]
pub(crate) fn session() -> u64 {
    SESSION.load(Relaxed)
}

/// Begins a new session, in which all accounts are empty.
pub(crate) fn begin_session() -> u64 {
    SESSION.fetch_add(1, Relaxed) + 1
}

/// Begins a new session in a forked child, which has none of the other threads, and no accounts yet.
pub(crate) fn begin_session_in_child() -> u64 {
    thread::set_word(null());
    REGISTRY.clear();
    BLOCKS.give_back_all();
    begin_session()
}

/// Reserves the first accounts, and makes the ends of threads known, once.
///
/// # Errors
/// [`Refusal::System`].
pub(crate) fn reserve() -> Result<(), Refusal> {
    BLOCKS.reserve(capacity::GILS as u32).ok_or_else(|| no_memory(libc::ENOMEM))?;
    if KEY.load(Relaxed) == 0 {
        let mut key = 0;
        // SAFETY: the destructor stays mapped, since the library is never unloaded.
        let errno = unsafe { libc::pthread_key_create(&raw mut key, Some(ended)) };
        if errno != 0 {
            return Err(no_memory(errno));
        }
        KEY.store(key + 1, Relaxed);
    }
    Ok(())
}

/// Returns the account that the calling thread used last.
#[inline]
pub(crate) fn latest() -> Option<&'static Account> {
    // SAFETY: null, or an account that this module has stored. Accounts are never freed.
    unsafe { thread::word().cast::<Account>().as_ref() }
}

/// Returns true if `account` is one of the calling thread's.
pub(crate) fn is_own(account: &Account) -> bool {
    latest().filter(|latest| !is_nobody(latest)).is_some_and(|latest| {
        let mut own = latest;
        loop {
            if std::ptr::eq(own, account) {
                return true;
            }
            own = own.sibling();
            if std::ptr::eq(own, latest) {
                return false;
            }
        }
    })
}

/// Returns the calling thread's account with the GIL under which the meter was started, if it has one in this session.
pub(super) fn own_with_main() -> Option<&'static Account> {
    let mut account = latest().filter(|latest| !is_nobody(latest))?;
    for _ in 0..capacity::GILS {
        if account.is_with(GILS.first().id(), session()) {
            return Some(account);
        }
        account = account.sibling();
    }
    None
}

/// Returns the calling thread's account with `gil`, of this session.
#[inline]
pub(crate) fn own(gil: &'static Gil) -> &'static Account {
    match latest() {
        Some(account) if account.is_with(gil.id(), session()) => account,
        latest => search(gil, latest),
    }
}

/// Returns the same, for the thread that starts the meter.
///
/// # Errors
/// [`Refusal::System`] if there is no memory for it.
pub(crate) fn own_of_starter(gil: &'static Gil) -> Result<&'static Account, Refusal> {
    if latest().is_some_and(is_nobody) {
        // There was no memory in an earlier session.
        thread::set_word(null());
    }
    let account = own(gil);
    if is_nobody(account) { Err(no_memory(libc::ENOMEM)) } else { Ok(account) }
}

fn no_memory(errno: i32) -> Refusal {
    Refusal::System("reserving address space for the accounts", std::io::Error::from_raw_os_error(errno).to_string())
}

#[cold]
#[inline(never)]
fn search(gil: &'static Gil, latest: Option<&'static Account>) -> &'static Account {
    // Locks and reservations make system calls.
    keep_errno(|| find_or_create(gil, latest))
}

fn find_or_create(gil: &'static Gil, latest: Option<&'static Account>) -> &'static Account {
    let mut kept = None;
    if let Some(first) = latest {
        if is_nobody(first) {
            return first;
        }
        let mut account = first.sibling();
        while !account.is_with(gil.id(), session()) && !std::ptr::eq(account, first) {
            account = account.sibling();
        }
        if account.is_with(gil.id(), session()) {
            thread::set_word((&raw const *account).cast());
            return account;
        }
        kept = without_ended(first);
    }
    create(gil, kept)
}

/// Ends the accounts of the ring that belong to former sessions or to GILs that were destroyed. Returns an account of
/// the ring of the others, if there are any.
fn without_ended(first: &'static Account) -> Option<&'static Account> {
    let mut kept: Option<&'static Account> = None;
    let mut next = first.sibling();
    loop {
        let account = next;
        next = account.sibling();
        let gil = GILS.by_id(account.gil()).filter(|_| account.session() == session());
        if gil.is_some_and(|gil| gil.ended().is_none()) {
            account.join_ring(kept);
            kept = Some(account);
        } else {
            end(account);
        }
        if std::ptr::eq(account, first) {
            return kept;
        }
    }
}

/// Creates an account in the ring of `sibling`. If there is no memory, the thread's figures are missing.
fn create(gil: &'static Gil, sibling: Option<&'static Account>) -> &'static Account {
    let Some(account) = BLOCKS.take() else {
        let nobody = &NOBODY;
        UNLISTED.fetch_add(1, Relaxed);
        if sibling.is_none() {
            thread::set_word((&raw const *nobody).cast());
        }
        return nobody;
    };
    account.begin(BEGUN.fetch_add(1, Relaxed) + 1, gil.id(), thread::tid(), session());
    account.counts_in(gil.lengths());
    account.join_ring(sibling);
    thread::set_word((&raw const *account).cast());
    REGISTRY.enter(account);
    if sibling.is_none() {
        // The value only has to be other than null. For one of a process's first 32 keys, this allocates nothing
        // (glibc, nptl/pthread_setspecific.c). If it fails, the thread's account is never given back.
        // SAFETY: the key exists, since `reserve` has created it.
        unsafe { libc::pthread_setspecific(KEY.load(Relaxed).wrapping_sub(1), (&raw const *account).cast()) };
    }
    account
}

/// Runs at a thread's end, as the destructor of its key. If a later destructor acquires the GIL, the thread gets another
/// account, and this runs again (pthread_key_create(3), PTHREAD_DESTRUCTOR_ITERATIONS).
unsafe extern "C" fn ended(_: *mut libc::c_void) {
    let latest = latest().filter(|latest| !is_nobody(latest));
    thread::set_word(null());
    let Some(latest) = latest else { return };
    let mut next = latest.sibling();
    loop {
        let account = next;
        next = account.sibling();
        // A thread may end without a release of the GIL, which nobody can acquire then. It counts as held.
        let holds = GILS.by_id(account.gil()).and_then(Gil::holder).is_some_and(|holder| std::ptr::eq(holder, account));
        if !holds {
            end(account);
        }
        if std::ptr::eq(account, latest) {
            break;
        }
    }
    collect();
}

/// Ends an account of the calling thread, which forgets it.
fn end(account: &'static Account) {
    let now = clock::ticks();
    match GILS.by_id(account.gil()) {
        Some(gil) => gil.thread_ended(account, &OPEN, now),
        None => _ = account.ends(&OPEN, now, None),
    }
    sink::report(account, Event::Ended, now);
    REGISTRY.leave(account);
}

/// Gives back the accounts and the GILs that no window needs. If another thread is at it, returns at once.
pub(crate) fn collect() {
    if let Some(lists) = REGISTRY.try_lock() {
        REGISTRY.collect(&lists, session(), &GILS, &OPEN, &BLOCKS);
    }
}

/// The same, for the thread that has the lock.
pub(super) fn collect_locked(lists: &Guard<'_, Lists>) {
    GILS.find_ended(&OPEN, clock::ticks());
    REGISTRY.collect(lists, session(), &GILS, &OPEN, &BLOCKS);
}

/// Returns the number of threads whose figures are missing, because there was no memory.
pub(super) fn unlisted() -> u64 {
    UNLISTED.load(Relaxed)
}

fn is_nobody(account: &Account) -> bool {
    std::ptr::eq(account, &raw const NOBODY)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    /// The accounts of this process are shared by the tests.
    static ALONE: Mutex<()> = Mutex::new(());

    #[test]
    fn a_thread_has_one_account_with_each_gil_and_keeps_it() {
        let _alone = ALONE.lock().unwrap();
        reserve().unwrap();
        begin_session();
        GILS.calibrated(0x1000, 0, None, None);
        let gils = [GILS.first(), GILS.add(0x2000), GILS.add(0x3000)];
        let first = gils.map(own);
        assert_eq!(first.map(Account::gil), gils.map(Gil::id));
        assert_eq!(first.map(Account::tid), [thread::tid(); 3]);
        for (gil, first) in gils.iter().zip(first).rev() {
            assert!(std::ptr::eq(own(gil), first) && std::ptr::eq(latest().unwrap(), first));
        }
        assert!(first.iter().all(|account| is_own(account)));
        // An account with a GIL that was destroyed is given back when the thread meets another GIL.
        gils[1].destroyed(&OPEN, clock::ticks());
        let another = own(GILS.add(0x4000));
        assert!(!is_own(first[1]) && [first[0], first[2], another].into_iter().all(is_own));
        let other = std::thread::spawn(move || own(gils[0]).tid()).join().unwrap();
        assert!(other != first[0].tid());
    }

    #[test]
    fn the_account_of_an_ended_thread_is_used_again_under_another_number() {
        let _alone = ALONE.lock().unwrap();
        reserve().unwrap();
        begin_session();
        GILS.calibrated(0x1000, 0, None, None);
        let thread = || std::thread::spawn(|| (own(GILS.first()).number(), own(GILS.first()).id())).join().unwrap();
        // A thread ends shortly after the join.
        let ended: Vec<_> = (0..100).map(|_| thread()).collect();
        let used = ended.iter().map(|(number, _)| *number).collect::<std::collections::HashSet<_>>();
        assert!(used.len() < 50, "{used:?}");
        assert!(ended.is_sorted_by(|(_, one), (_, next)| one < next), "{ended:?}");
    }
}
