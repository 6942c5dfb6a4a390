//! The memory of the accounts, and the calling thread's own account. Address space is reserved once, and the kernel
//! provides memory as threads first use their accounts. Nothing is allocated or freed while metering.

use super::super::{memory, thread};
use super::account::Account;
use super::capacity;
use super::gil::Gil;
use crate::refusal::Refusal;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, AtomicU64, AtomicUsize, Ordering::Relaxed};

/// The accounts: those of the threads, then the shared one of each GIL.
static POOL: AtomicPtr<Account> = AtomicPtr::new(null_mut());
static USED: AtomicUsize = AtomicUsize::new(0);
/// The current session: increases when a stopped meter is started, and in every forked child; 0 before the first start.
/// Accounts of earlier sessions count as empty.
static SESSION: AtomicU64 = AtomicU64::new(0);

/// Returns the current session.
#[inline]
pub(crate) fn session() -> u64 {
    SESSION.load(Relaxed)
}

/// Begins a new session, in which all accounts are empty.
pub(crate) fn begin_session() -> u64 {
    SESSION.fetch_add(1, Relaxed) + 1
}

/// Reserves the memory, once.
///
/// # Errors
/// [`Refusal::System`].
pub(crate) fn reserve() -> Result<(), Refusal> {
    if !POOL.load(Relaxed).is_null() {
        return Ok(());
    }
    let bytes = capacity::ACCOUNTS * size_of::<Account>();
    // Full of zeros, which is an empty account.
    POOL.store(memory::reserve(bytes, "reserving address space for the accounts")?.cast(), Relaxed);
    Ok(())
}

/// Returns the account that the calling thread used last.
#[inline]
pub(crate) fn latest() -> Option<&'static Account> {
    // SAFETY: null, or an account that this module has stored. Accounts are never freed.
    unsafe { thread::word().cast::<Account>().as_ref() }
}

/// Returns the calling thread's account with `gil`, of this session.
#[inline]
pub(crate) fn own(gil: &Gil) -> &'static Account {
    match latest() {
        Some(account) if account.is_with(gil.index(), session()) => account,
        latest => search(gil, latest),
    }
}

#[cold]
#[inline(never)]
fn search(gil: &Gil, latest: Option<&'static Account>) -> &'static Account {
    let mut account = latest;
    while let Some(found) = account {
        if found.gil() == gil.index() {
            if found.session() != session() {
                found.begin(gil.index(), thread::tid(), session());
            }
            thread::set_word((&raw const *found).cast());
            return found;
        }
        // SAFETY: an account of the ring. Accounts are never freed.
        account =
            unsafe { found.sibling().as_ref() }.filter(|next| !latest.is_some_and(|first| std::ptr::eq(first, *next)));
    }
    create(gil, latest)
}

/// Creates an account in the ring of `sibling`. If the memory is used up, returns the shared account of `gil`.
fn create(gil: &Gil, sibling: Option<&'static Account>) -> &'static Account {
    let index = USED.load(Relaxed);
    let index = if index < capacity::THREADS { USED.fetch_add(1, Relaxed) } else { index };
    if index >= capacity::THREADS {
        return shared(gil);
    }
    let account = numbered(index);
    account.begin(gil.index(), thread::tid(), session());
    account.join_ring(sibling);
    gil.list(account);
    thread::set_word((&raw const *account).cast());
    account
}

/// Returns the account with that number.
fn numbered(number: usize) -> &'static Account {
    assert!(number < capacity::ACCOUNTS);
    // SAFETY: inside the pool.
    let account = unsafe { &*POOL.load(Relaxed).add(number) };
    account.set_number(number as u32);
    account
}

/// Returns the account that threads without their own account share.
fn shared(gil: &Gil) -> &'static Account {
    // Behind the threads' own accounts.
    let account = numbered(capacity::THREADS + gil.index() as usize);
    if account.session() != session() {
        let is_new = account.session() == 0;
        account.begin(gil.index(), 0, session());
        if is_new {
            gil.list(account);
        }
    }
    account
}

#[cfg(test)]
mod tests {
    use super::super::gils::Gils;
    use super::super::slots::Slots;
    use super::*;
    use std::sync::Once;

    /// Reserves the memory only once, although tests run in parallel.
    fn reserve_once() {
        static ONCE: Once = Once::new();
        ONCE.call_once(|| reserve().unwrap());
        begin_session();
    }

    #[test]
    fn a_thread_has_one_account_with_each_gil_and_keeps_it() {
        reserve_once();
        let gils = [0x1000, 0x2000, 0x3000].map(|address| Gils::leak(address).main());
        for (index, gil) in (0..).zip(gils) {
            gil.place(index, gil.address(), 0);
        }
        let first = gils.map(own);
        assert_eq!(first.map(Account::gil), [0, 1, 2]);
        assert_eq!(first.map(Account::tid), [thread::tid(); 3]);
        for (gil, first) in gils.iter().zip(first).rev() {
            assert!(std::ptr::eq(own(gil), first) && std::ptr::eq(latest().unwrap(), first));
            assert_eq!(gil.accounts().count(), 1);
        }
        let other = std::thread::spawn(move || own(gils[0]).tid()).join().unwrap();
        assert!(other != first[0].tid() && gils[0].accounts().count() == 2);
    }

    #[test]
    fn the_shared_account_of_a_gil_is_listed_once() {
        reserve_once();
        let (gil, open) = (Gils::leak(0x1000).main(), Slots::new());
        // This index is used by no other test.
        gil.place(capacity::GILS as u32 - 1, 0x1000, 0);
        let account = shared(gil);
        assert!(std::ptr::eq(shared(gil), account));
        account.acquired(&open, 100);
        begin_session();
        assert_eq!((shared(gil).acquisitions(), account.tid(), gil.accounts().count()), (0, 0, 1));
    }
}
