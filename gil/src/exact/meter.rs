//! Starts and stops the meter. The first start redirects the calls; the last stop restores them.

use super::clock;
use super::counting::gils::GILS;
use super::counting::slots::OPEN;
use super::counting::window::{self, Window};
use super::counting::{counters, pool, read, sink, tally};
use super::fork;
use super::hooking::disturbance::{self, Disturbance};
use super::hooking::got::Object;
use super::hooking::redirections::Redirections;
use super::hooking::{calibrate, semaphore};
use super::python::{self, Python};
use super::state::{STATE, State};
use super::thread;
use crate::refusal::Refusal;
use crate::snapshot::{Counters, Snapshot};
use std::thread::sleep;
use std::time::Duration;

/// A running meter. Several may run at the same time, and share the accounts. Dropping the last one ends the metering.
#[derive(Debug)]
pub struct Meter(());

impl Meter {
    /// Starts metering, or joins the running meter. The calling thread must hold the GIL. The first start takes about a
    /// millisecond: it releases and acquires the GIL a few times, in order to find and check it.
    ///
    /// # Errors
    /// The first check that fails. Then nothing stays redirected.
    pub fn start() -> Result<Self, Refusal> {
        Self::start_unless(&|_| false)
    }

    /// Starts metering like [`Self::start`], unless another copy of this library meters the process. If the meter is not
    /// running, and CPython's calls lead into another object, `is_copy` is called with the address to which they lead,
    /// and returns true if that object is such a copy. The GIL is held from that call until the calls are redirected, so
    /// no other copy starts in between.
    ///
    /// # Errors
    /// [`Refusal::OtherCopy`] if `is_copy` has returned true; otherwise those of [`Self::start`].
    pub fn start_unless(is_copy: &dyn Fn(usize) -> bool) -> Result<Self, Refusal> {
        Self::start_in(&Python::held_here(false)?, is_copy)
    }

    fn start_in(python: &Python, is_copy: &dyn Fn(usize) -> bool) -> Result<Self, Refusal> {
        loop {
            let mut state = STATE.lock();
            if state.users > 0 {
                state.users += 1;
                if state.is_semaphore {
                    semaphore::joins();
                }
                return Ok(Self(()));
            }
            if state.starter == 0 {
                state.starter = thread::identity();
                break;
            }
            drop(state);
            // The thread that starts the metering may be waiting for the GIL.
            python.without_gil(|| sleep(Duration::from_millis(1)));
        }
        let started = start_stopped(python, is_copy);
        let mut state = STATE.lock();
        state.starter = 0;
        match &started {
            Ok(()) => state.users = 1,
            Err(_) => state.redirections.restore(),
        }
        started.map(|()| Self(()))
    }

    /// Starts metering like [`Self::start_unless`], and makes `sink` see every event until the metering ends. A process
    /// has one sink: a later one replaces it. [`crate::on_python`] may call it while Python is still initialising itself.
    ///
    /// # Errors
    /// Those of [`Self::start_unless`].
    pub fn start_with_sink(is_copy: &dyn Fn(usize) -> bool, sink: &'static dyn sink::Sink) -> Result<Self, Refusal> {
        let python = Python::held_here(true)?;
        sink::set(sink);
        Self::start_in(&python, is_copy).inspect_err(|_| sink::clear())
    }

    /// Ends all but this number of meters. A forked child calls it if it lacks the threads that own the others, which nobody
    /// would drop.
    pub fn keep_at_most(meters: usize) {
        let mut state = STATE.lock();
        if state.users > meters {
            state.users = meters;
            end_without_users(&mut state);
        }
    }

    /// Counts the lengths of holds and waits from now on, until the metering ends. A release takes a few times as long then.
    pub fn count_lengths(&self) {
        window::count_lengths();
    }

    /// Returns the figures since the stopped meter was started, or since the fork. Needs no GIL.
    pub fn snapshot(&self) -> Snapshot {
        read::snapshot()
    }

    /// Returns the sums over all threads with one GIL, that of the index `gil` in a [`Snapshot`]. It takes less than a
    /// microsecond, however many threads there are. None if there is no such GIL. Needs no GIL.
    pub fn counters(&self, gil: usize) -> Option<Counters> {
        counters::counters(gil)
    }

    /// Returns a value if the figures may be incomplete: another tool has redirected the same calls since the stopped meter
    /// was started. Needs no GIL.
    pub fn disturbance(&self) -> Option<Disturbance> {
        disturbance::found()
    }

    /// Opens a window, which begins now and has its own longest hold and wait. Needs no GIL.
    ///
    /// # Errors
    /// [`Refusal::System`] if there is no address space left.
    pub fn window(&self) -> Result<Window, Refusal> {
        Window::open()
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        let mut state = STATE.lock();
        state.users -= 1;
        end_without_users(&mut state);
    }
}

fn end_without_users(state: &mut State) {
    if state.users == 0 {
        state.redirections.restore();
        sink::clear();
    }
}

/// Starts the stopped meter. `starter` prevents other threads from doing so at the same time. The lock is released
/// whenever the GIL is released. If the start fails, some entries may be redirected.
fn start_stopped(python: &Python, is_copy: &dyn Fn(usize) -> bool) -> Result<(), Refusal> {
    if !tally::is_supported() {
        return Err(Refusal::Processor("CMPXCHG16B"));
    }
    let object = Object::holding(python.save_thread)
        .ok_or_else(|| Refusal::StaticallyBound("the C library", "a static executable".into()))?;
    let is_semaphore = python.version < (3, 0);
    let found = Redirections::find(&object, is_semaphore, is_copy)?;
    pool::reserve()?;
    clock::settle();
    fork::register_fork_handlers();
    fork::learn_end_of_python();
    {
        let mut state = STATE.lock();
        state.is_semaphore = is_semaphore;
        state.redirections = found;
        state.redirections.calibrate()?;
    }
    let calibration = if is_semaphore { calibrate::semaphores(python) } else { calibrate::conds(python) }?;
    {
        let state = STATE.lock();
        // The calling thread holds the GIL throughout, so the GIL has no event until the last of these lines.
        let session = pool::begin_session();
        // Gives back the accounts of the former session, if nothing but its sums was read.
        pool::collect();
        OPEN.end_lengths();
        let first = GILS.first();
        GILS.calibrated(calibration.address, calibration.interpreter, calibration.to_cond, python::interpreter_id());
        GILS.are_structs(!is_semaphore);
        first.seed(pool::own_of_starter(first)?, session, clock::ticks());
        calibration.others.into_iter().for_each(|interpreter| GILS.enter_own_gil(interpreter, session));
        state.redirections.meter()?;
    }
    prove(python)
}

/// Checks that one release and one acquire by the calling thread are recorded as such.
fn prove(python: &Python) -> Result<(), Refusal> {
    let recorded = || {
        let own = pool::own(GILS.first());
        (own.acquisitions(), own.voluntary_releases() + own.forced_drops())
    };
    let (acquisitions, releases) = recorded();
    python.release_and_acquire();
    let (acquired, released) = recorded();
    if (acquired - acquisitions, released - releases) == (1, 1) {
        return Ok(());
    }
    Err(Refusal::Unexpected(format!(
        "expected one release and one acquire, metered {} and {}",
        released - releases,
        acquired - acquisitions
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_does_not_start_without_a_python() {
        assert_eq!(Meter::start().unwrap_err(), Refusal::NoPython("PyEval_SaveThread"));
    }
}
