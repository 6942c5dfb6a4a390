//! A forked child has one thread, with an id of its own, and goes on metering from nothing.

use super::gils;
use super::ledger::{self, SESSION};
use super::{clock, meter, semaphore, thread};
use std::sync::Once;
use std::sync::atomic::Ordering::Relaxed;

/// Has every later child looked after. Children of vfork(2) share the parent's memory and are left alone by it.
pub(super) fn register() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: the handler only stores to memory that is the child's own by then. Out of memory, pthread_atfork(3)
        // fails: then children go on under their parents' thread ids.
        unsafe { libc::pthread_atfork(None, None, Some(in_child)) };
    });
}

unsafe extern "C" fn in_child() {
    if !meter::survives_fork() {
        return;
    }
    let now = clock::ticks();
    let main = gils::main();
    let forking = thread::account();
    let held = gils::all().iter().find(|gil| {
        // SAFETY: null, or an account; they are never freed.
        let holder = unsafe { gil.holder.load(Relaxed).as_ref() };
        !forking.is_null() && holder.is_some_and(|holder| holder.tid.load(Relaxed) == thread_of(forking))
    });
    SESSION.fetch_add(1, Relaxed);
    gils::all().iter().for_each(gils::Gil::rest);
    main.session.store(SESSION.load(Relaxed), Relaxed);
    main.metered_since.store(now, Relaxed);
    if let Some(gil) = held {
        gil.seed(ledger::own(gil), now);
    }
    if meter::is_semaphore() {
        semaphore::forked();
    }
}

/// The id that the account's thread had in the parent.
fn thread_of(account: *const ledger::Account) -> u32 {
    // SAFETY: not null, so an account.
    unsafe { &*account }.tid.load(Relaxed)
}
