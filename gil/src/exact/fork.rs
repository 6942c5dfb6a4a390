//! Threads that no longer exist: those of the parent in a forked child, and a thread that CPython has ended. A child has
//! one thread, with a new id, and continues to meter with empty accounts.

use super::clock;
use super::counting::gils::GILS;
use super::counting::{gil::Gil, holds, pool, sink, slots::OPEN};
use super::hooking::{calibrate, semaphore};
use super::python;
use super::state::{STATE, State};
use super::thread;
use crate::ended_thread;
use std::sync::Once;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64};

/// The start of the current fork. The forking thread holds the lock of [`STATE`] meanwhile.
static BEGAN: AtomicU64 = AtomicU64::new(0);

/// Registers the handlers for every later fork, and for the end of a thread that waits for the GIL. A child of vfork(2)
/// shares the parent's memory and must not call these handlers; fork handlers do not run in it.
///
/// A fork takes the meter's lock after the locks whose handlers are registered later (pthread_atfork(3)). So if a caller
/// calls this function before it registers the handlers of its own [`crate::ForkLock`], it may drop a meter while it holds
/// that lock. It must not start one then, since a start may wait for the GIL.
pub fn register_fork_handlers() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        ended_thread::register(on_ended_thread);
        // SAFETY: the functions stay mapped, since the library is never unloaded. If memory is exhausted,
        // pthread_atfork(3) fails. Then children continue with their parents' thread ids, and a fork while another
        // thread starts or stops the meter may leave the child with an inconsistent state.
        unsafe { libc::pthread_atfork(Some(before), Some(in_parent), Some(in_child)) };
    });
}

unsafe extern "C" fn before() {
    STATE.before_fork();
    holds::before_fork();
    BEGAN.store(clock::ticks(), Relaxed);
}

unsafe extern "C" fn in_parent() {
    // `os.fork` holds the GIL meanwhile.
    if let Some(gil) = held() {
        sink::has_forked(gil.id(), clock::ticks().saturating_sub(BEGAN.load(Relaxed)));
    }
    // SAFETY: `before` has run in this thread, which holds the locks.
    unsafe {
        holds::after_fork(false);
        drop(STATE.after_fork());
    }
}

unsafe extern "C" fn in_child() {
    // SAFETY: as in `in_parent`.
    unsafe { holds::after_fork(true) };
    // SAFETY: as above.
    let Some(mut state) = (unsafe { STATE.after_fork() }) else { return };
    if state.starter != 0 {
        // The thread that was starting the meter does not exist in the child.
        end_cut_off_start(&mut state);
    }
    if pool::session() == 0 {
        // The meter was never started.
        return;
    }
    let held = held();
    let session = pool::begin_session_in_child();
    sink::forked();
    GILS.all().iter().for_each(Gil::reset);
    let now = OPEN.begin_anew(clock::ticks());
    if state.users == 0 {
        state.redirections.restore();
    } else {
        begin_anew(&state, held, session, now);
    }
}

/// Returns the GIL that the calling thread holds.
fn held() -> Option<&'static Gil> {
    GILS.all().iter().find(|gil| gil.holder().is_some_and(pool::is_own))
}

/// Runs in a thread that CPython has ended, which holds neither the GIL nor the lock. If the thread was starting the
/// meter, another thread can start it now: Python may be initialised again.
fn on_ended_thread() {
    let mut state = STATE.lock();
    if state.starter == thread::identity() {
        end_cut_off_start(&mut state);
    }
}

/// True if [`python_ended`] is registered.
static LEARNS_END: AtomicBool = AtomicBool::new(false);

/// Makes sure that a start which the end of Python cuts off is undone. From 3.14 on, a thread that acquires the GIL then
/// sleeps for ever, so it does not run [`on_ended_thread`].
pub(super) fn learn_end_of_python() {
    if !LEARNS_END.swap(true, Relaxed) {
        python::at_exit(python_ended);
    }
}

/// Runs at the end of Py_FinalizeEx: no other thread will hold the GIL.
unsafe extern "C" fn python_ended() {
    LEARNS_END.store(false, Relaxed);
    let mut state = STATE.lock();
    if state.starter != 0 && state.starter != thread::identity() {
        end_cut_off_start(&mut state);
    }
}

fn end_cut_off_start(state: &mut State) {
    state.starter = 0;
    calibrate::end_cut_off_calibration();
    state.redirections.restore();
}

/// Continues the metering. The forking thread is the holder of `held`, if it held a GIL.
fn begin_anew(state: &State, held: Option<&'static Gil>, session: u64, now: u64) {
    GILS.first().begin(session, now);
    if let Some(gil) = held {
        gil.seed(pool::own(gil), session, now);
    }
    if state.is_semaphore {
        semaphore::search_new_gil();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_is_cut_off_only_by_the_end_of_its_own_thread() {
        let starter = |starter: usize| {
            STATE.lock().starter = starter;
            on_ended_thread();
            std::mem::take(&mut STATE.lock().starter)
        };
        assert_eq!(starter(thread::identity() + 1), thread::identity() + 1);
        assert_eq!(starter(thread::identity()), 0);
    }
}
