//! Detects Ctrl-C while the GIL is released: during a wait, the SIGINT action of the process is our handler, which calls
//! the previous handler and then sets a flag.
//!
//! Our handler performs two atomic accesses and that call, so it is async-signal-safe (signal-safety(7)) if the previous
//! handler is. CPython's handler is: `signal_handler` in Modules/signalmodule.c records the signal (`trip_signal`) and
//! leaves the Python handler to `PyErr_CheckSignals`.
//!
//! Only the main thread installs our handler, since `PyErr_CheckSignals` runs Python handlers only there.
//! `signal.signal`, too, works only on the main thread, so it cannot be called while our handler is installed. C code
//! on another thread can change the action (`faulthandler.register` does); [`WRAPPED`] deals with that.

#![allow(unsafe_code, reason = "sigaction(2) takes and returns raw handlers; only this module uses it")]

use libc::{c_int, c_void, sigaction, siginfo_t};
use std::mem::{MaybeUninit, transmute};
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};

type Plain = unsafe extern "C" fn(c_int);
type WithInfo = unsafe extern "C" fn(c_int, *mut siginfo_t, *mut c_void);

/// A handler in one of the two forms of sigaction(2).
#[derive(Clone, Copy, PartialEq)]
struct Handler {
    address: usize,
    with_info: bool,
}

impl Handler {
    /// Returns the handler of an action, or None for SIG_DFL and SIG_IGN.
    fn of(action: &sigaction) -> Option<Self> {
        match action.sa_sigaction {
            libc::SIG_DFL | libc::SIG_IGN => None,
            address => Some(Self { address, with_info: action.sa_flags & libc::SA_SIGINFO != 0 }),
        }
    }

    /// Calls it with the arguments that our handler received.
    fn call(self, signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
        // SAFETY: sigaction(2) returned the address, and its flag gives the form of the function; it was installed for
        // this signal.
        unsafe {
            if self.with_info {
                transmute::<usize, WithInfo>(self.address)(signal, info, context);
            } else {
                transmute::<usize, Plain>(self.address)(signal);
            }
        }
    }
}

/// The previous handler, which ours calls. It stays stored after the wait. A stored handler is never changed or freed,
/// since a signal on another thread may be reading it; a new one is stored only if the previous handler has changed.
static PREVIOUS: AtomicPtr<Handler> = AtomicPtr::new(null_mut());

/// Set by our handler after the previous handler has returned.
static ARRIVED: AtomicBool = AtomicBool::new(false);

/// Set once other code has installed a handler over ours during a wait. That handler may call ours for as long as the
/// process lives. So PREVIOUS must no longer change; otherwise the two handlers could call each other for ever. Ctrl-C
/// still ends a wait if that handler calls ours.
static WRAPPED: AtomicBool = AtomicBool::new(false);

/// Our handler. It is a static variable, so that it has a unique address, by which it is recognised.
static OURS: WithInfo = on_sigint;

extern "C" fn on_sigint(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    // SAFETY: not NULL, since it is stored before this handler is installed; its target is never freed or written.
    let previous = unsafe { *PREVIOUS.load(Ordering::Acquire) };
    previous.call(signal, info, context);
    // The flag is set last: another thread may be the waiting one, and when that thread sees the flag, CPython must
    // already have recorded the signal.
    ARRIVED.store(true, Ordering::Release);
}

/// The installation of our handler before the previous one. [`Self::undo`] ends it. It has no `Drop`, since CPython may end
/// a thread only if its callers have nothing to drop (see [`capi`](crate::capi)).
#[must_use = "undo() ends the installation"]
#[derive(Clone, Copy)]
pub struct Chain {
    /// The action to restore; None if our handler was not installed.
    previous: Option<sigaction>,
}

impl Chain {
    /// Installs our handler. Does nothing if SIGINT is ignored or kills the process, since this must not change, or if
    /// an outer wait has already installed our handler. Call it only on the main thread.
    pub fn install() -> Self {
        // The flag is reset before the installation, so that no later SIGINT is missed.
        ARRIVED.store(false, Ordering::Relaxed);
        let previous = act(None);
        let Some(handler) = Handler::of(&previous) else { return Self { previous: None } };
        // SAFETY: NULL, or stored below and never freed.
        let known = unsafe { PREVIOUS.load(Ordering::Relaxed).as_ref() } == Some(&handler);
        if handler.address == OURS as usize || WRAPPED.load(Ordering::Relaxed) && !known {
            return Self { previous: None };
        }
        if !known {
            PREVIOUS.store(Box::into_raw(Box::new(handler)), Ordering::Release);
        }
        let mut ours = previous;
        ours.sa_sigaction = OURS as usize;
        // The mask and the flags of the previous handler are kept, since it runs inside ours. SA_ONSTACK matters only
        // to a thread with an alternative stack, and the normal stack of such a thread may be too small (CPython:
        // PyOS_setsig).
        ours.sa_flags |= libc::SA_SIGINFO | libc::SA_ONSTACK;
        act(Some(&ours));
        Self { previous: Some(previous) }
    }

    /// Returns true if a SIGINT has arrived since the installation.
    #[inline]
    pub fn arrived(&self) -> bool {
        ARRIVED.load(Ordering::Acquire)
    }

    /// Installs the previous handler again, unless other code has installed another one.
    pub fn undo(self) {
        let Some(previous) = &self.previous else { return };
        let replaced = act(Some(previous));
        if replaced.sa_sigaction != OURS as usize {
            // Other code has installed a handler during the wait, which is kept.
            act(Some(&replaced));
            if Handler::of(&replaced).is_some_and(|other| Handler::of(previous) != Some(other)) {
                WRAPPED.store(true, Ordering::Relaxed);
            }
        }
    }
}

/// Returns true if this is the initial thread of the process. Python runs signal handlers on it, unless Python was
/// embedded in another thread; in that case only the early end of a wait is lost.
pub fn on_main_thread() -> bool {
    #[cfg(target_os = "linux")]
    return rustix::thread::gettid() == rustix::process::getpid();
    // SAFETY: the function has no preconditions.
    #[cfg(target_os = "macos")]
    return unsafe { libc::pthread_main_np() } == 1;
    #[cfg(not(any(target_os = "linux", target_os = "macos")))]
    return false;
}

/// Sets the action of SIGINT to `new`, if given, and returns the previous action.
fn act(new: Option<&sigaction>) -> sigaction {
    let mut old = MaybeUninit::uninit();
    // SAFETY: both pointers are NULL or valid; `new` is OURS or an action that sigaction(2) returned.
    let result = unsafe { sigaction(libc::SIGINT, new.map_or(null(), std::ptr::from_ref), old.as_mut_ptr()) };
    // It fails only for an invalid signal number or pointer.
    assert_eq!(result, 0, "sigaction(2) on SIGINT failed");
    // SAFETY: initialised, since the call did not fail.
    unsafe { old.assume_init() }
}
