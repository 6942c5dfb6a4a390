//! Starting and stopping. One set of hooks serves all meters of the process: the first start redirects, the last stop puts back.

use super::got::{Entry, Object};
use super::ledger::{self, SESSION};
use super::python::{Python, symbol};
use super::window::Window;
use super::{calibrate, clock, fork, gils, hooks, read, semaphore};
use crate::{Refusal, Snapshot};
use std::cell::UnsafeCell;
use std::ffi::CStr;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{sleep, yield_now};
use std::time::Duration;

/// A running meter. Several may run at once, and share what is counted; the last one dropped ends the metering.
#[derive(Debug)]
pub struct Meter(());

impl Meter {
    /// Starts metering, or joins in. To be called by a thread that holds the GIL; the first start gives it up and takes it
    /// again a few times to learn and check how that is done, and takes about a millisecond.
    ///
    /// # Errors
    /// The first thing that is not as it must be, after which everything is as it was before.
    pub fn start() -> Result<Self, Refusal> {
        let python = Python::held_here()?;
        let mut state = loop {
            match State::try_lock() {
                Some(state) => break state,
                // Who starts may be waiting for the GIL.
                None => python.without_gil(|| sleep(Duration::from_millis(1))),
            };
        };
        if state.users == 0 {
            let started = state.redirect(&python);
            if started.is_err() {
                state.put_back();
            }
            started?;
        }
        state.users += 1;
        Ok(Self(()))
    }

    /// Everything counted since metering began from rest, or since the fork. Needs no GIL.
    pub fn snapshot(&self) -> Snapshot {
        read::snapshot(None)
    }

    /// A stretch that begins now, with a longest hold and wait of its own. Needs no GIL.
    ///
    /// # Errors
    /// [`Refusal::TooManyWindows`].
    pub fn window(&self) -> Result<Window, Refusal> {
        Window::open()
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        let mut state = loop {
            match State::try_lock() {
                Some(state) => break state,
                None => yield_now(),
            }
        };
        state.users -= 1;
        if state.users == 0 {
            state.put_back();
        }
    }
}

/// A function of the C library: what is redirected, and whereto.
struct Redirection {
    name: &'static CStr,
    /// The version of the symbol where it has several.
    version: &'static CStr,
    real: &'static AtomicUsize,
    while_calibrating: Option<usize>,
    then: usize,
}

/// The functions that CPython 3's GIL goes by.
fn conds() -> Vec<Redirection> {
    let version = c"GLIBC_2.3.2";
    let row = |name, real, while_calibrating, then| Redirection { name, version, real, while_calibrating, then };
    vec![
        row(
            c"pthread_cond_signal",
            &hooks::REAL_SIGNAL,
            Some(calibrate::signal as *const () as usize),
            hooks::signal as *const () as usize,
        ),
        row(c"pthread_cond_timedwait", &hooks::REAL_TIMEDWAIT, None, hooks::timedwait as *const () as usize),
        row(c"pthread_cond_wait", &hooks::REAL_WAIT, None, hooks::wait as *const () as usize),
        row(c"pthread_cond_init", &hooks::REAL_INIT, None, hooks::init as *const () as usize),
    ]
}

/// The functions that CPython 2.7's GIL goes by.
fn semaphores() -> Vec<Redirection> {
    let version = c"GLIBC_2.2.5";
    let row = |name, real, while_calibrating, then| Redirection { name, version, real, while_calibrating, then };
    vec![
        row(
            c"sem_post",
            &semaphore::REAL_POST,
            Some(calibrate::post as *const () as usize),
            semaphore::post as *const () as usize,
        ),
        row(
            c"sem_wait",
            &semaphore::REAL_WAIT,
            Some(calibrate::wait as *const () as usize),
            semaphore::wait as *const () as usize,
        ),
        row(
            c"sem_trywait",
            &semaphore::REAL_TRYWAIT,
            Some(calibrate::trywait as *const () as usize),
            semaphore::trywait as *const () as usize,
        ),
        row(c"sem_init", &semaphore::REAL_INIT, None, semaphore::init as *const () as usize),
    ]
}

struct State {
    users: usize,
    is_semaphore: bool,
    /// The entries that are redirected, or may be.
    entries: Vec<Entry>,
    /// The hooks that they may lead to.
    ours: Vec<usize>,
}

static STATE: Locked = Locked {
    is_locked: AtomicBool::new(false),
    state: UnsafeCell::new(State { users: 0, is_semaphore: false, entries: Vec::new(), ours: Vec::new() }),
};

/// A lock that a forked child can break open.
struct Locked {
    is_locked: AtomicBool,
    state: UnsafeCell<State>,
}

// SAFETY: the state is only reached through `State::try_lock`, by one thread at a time, or by the only one in a forked child.
unsafe impl Sync for Locked {}

struct Lock(());

impl State {
    fn try_lock() -> Option<Lock> {
        let ours = STATE.is_locked.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed).is_ok();
        // Not then_some: its argument would be made, and unlock at its end, also where another has the lock.
        ours.then(|| Lock(()))
    }

    /// From rest to metering; on an error some entries may be redirected.
    fn redirect(&mut self, python: &Python) -> Result<(), Refusal> {
        let object = Object::holding(python.save_thread)
            .ok_or_else(|| Refusal::StaticallyBound("the C library", "a static executable".into()))?;
        self.is_semaphore = python.version < (3, 0);
        let functions = if self.is_semaphore { semaphores() } else { conds() };
        let mut entries = Vec::new();
        for function in &functions {
            let name = function.name.to_str().expect("ASCII");
            let real = versioned(function.name, function.version).ok_or(Refusal::NoFunction(name))?;
            function.real.store(real, Ordering::Relaxed);
            let found = object.entries(function.name);
            if found.is_empty() {
                return Err(Refusal::StaticallyBound(name, object.name));
            }
            entries.push(found);
            self.ours.extend(function.while_calibrating.into_iter().chain([function.then]));
        }
        ledger::reserve()?;
        clock::settle();
        fork::register();
        let counts: Vec<usize> = entries.iter().map(Vec::len).collect();
        self.entries = entries.into_iter().flatten().collect();
        let redirect = |whereto: fn(&Redirection) -> Option<usize>| {
            let functions =
                functions.iter().zip(&counts).flat_map(|(function, count)| (0..*count).map(move |_| function));
            let pairs = self.entries.iter().zip(functions);
            pairs
                .filter_map(|(entry, function)| Some((entry, whereto(function)?)))
                .try_for_each(|(entry, whereto)| entry.redirect(whereto))
        };
        redirect(|function| function.while_calibrating)?;
        let calibration = if self.is_semaphore { calibrate::semaphores(python) } else { calibrate::conds(python) }?;
        // The calling thread holds the GIL: nothing of it happens between these.
        SESSION.fetch_add(1, Ordering::Relaxed);
        gils::calibrated(calibration.address, calibration.interpreter, calibration.to_cond, clock::ticks());
        calibration.others.into_iter().for_each(gils::enter_own_gil);
        redirect(|function| Some(function.then))?;
        prove(python)
    }

    fn put_back(&mut self) {
        self.entries.iter().for_each(|entry| entry.restore(&self.ours));
        self.entries.clear();
        self.ours.clear();
    }
}

/// One release and one acquire of the calling thread must be booked as such.
fn prove(python: &Python) -> Result<(), Refusal> {
    let booked = || {
        let own = ledger::own(gils::main());
        let [acquisitions, explicit, forced] = [&own.acquisitions, &own.voluntary_releases, &own.forced_drops]
            .map(|counter| counter.load(Ordering::Relaxed));
        (acquisitions, explicit + forced)
    };
    let (acquisitions, releases) = booked();
    python.release_and_acquire();
    let (acquired, released) = booked();
    if (acquired - acquisitions, released - releases) == (1, 1) {
        return Ok(());
    }
    Err(Refusal::Unexpected(format!(
        "one release and one acquire were seen as {} and {}",
        released - releases,
        acquired - acquisitions
    )))
}

fn versioned(name: &'static CStr, version: &'static CStr) -> Option<usize> {
    // SAFETY: a lookup by name and version.
    let address = unsafe { libc::dlvsym(libc::RTLD_DEFAULT, name.as_ptr(), version.as_ptr()) } as usize;
    if address != 0 { Some(address) } else { symbol(name) }
}

/// In a forked child: breaks the lock that another thread of the parent may have held; true if metering goes on.
pub(super) fn survives_fork() -> bool {
    // SAFETY: the child has one thread, and fork(2) was not called from in here.
    let state = unsafe { &mut *STATE.state.get() };
    if state.users == 0 {
        state.put_back();
    }
    STATE.is_locked.store(false, Ordering::Relaxed);
    state.users > 0
}

/// True if the GIL is 2.7's. For the child's one thread, after [`survives_fork`].
pub(super) fn is_semaphore() -> bool {
    // SAFETY: as above.
    unsafe { &*STATE.state.get() }.is_semaphore
}

impl Deref for Lock {
    type Target = State;

    fn deref(&self) -> &State {
        // SAFETY: locked.
        unsafe { &*STATE.state.get() }
    }
}

impl DerefMut for Lock {
    fn deref_mut(&mut self) -> &mut State {
        // SAFETY: locked.
        unsafe { &mut *STATE.state.get() }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        STATE.is_locked.store(false, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_python_it_does_not_start() {
        assert_eq!(Meter::start().unwrap_err(), Refusal::NoPython("PyEval_SaveThread"));
    }
}
