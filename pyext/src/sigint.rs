//! Learning of a Ctrl-C without the GIL: for the length of a wait the process's SIGINT action is ours, which calls the
//! former one and then sets a flag.
//!
//! What runs in the handler is two atomic accesses and that call, so it is async-signal-safe (signal-safety(7)) if the
//! former handler is. CPython's is: `signal_handler` in Modules/signalmodule.c notes the signal (`trip_signal`) and
//! leaves the Python handler to `PyErr_CheckSignals`.
//!
//! Only the main thread installs it: there alone can `PyErr_CheckSignals` run Python handlers, and there alone can
//! `signal.signal` be called, so that it can't be called while ours is in place. C code of another thread can
//! (`faulthandler.register` does), and that case is dealt with: see [`OVERLAID`].

#![allow(unsafe_code, reason = "sigaction(2) takes and gives raw handlers; this is the one room for them")]

use libc::{c_int, c_void, sigaction, siginfo_t};
use std::mem::{MaybeUninit, transmute};
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};

type Plain = unsafe extern "C" fn(c_int);
type WithInfo = unsafe extern "C" fn(c_int, *mut siginfo_t, *mut c_void);

/// A handler in either of the forms of sigaction(2).
#[derive(Clone, Copy, PartialEq)]
struct Handler {
    address: usize,
    with_info: bool,
}

impl Handler {
    /// The handler of an action; None for SIG_DFL and SIG_IGN.
    fn of(action: &sigaction) -> Option<Self> {
        match action.sa_sigaction {
            libc::SIG_DFL | libc::SIG_IGN => None,
            address => Some(Self { address, with_info: action.sa_flags & libc::SA_SIGINFO != 0 }),
        }
    }

    /// Calls it with what the kernel, or whoever calls us in its place, gave us.
    fn call(self, signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
        // SAFETY: the address is from sigaction(2), and by its flag a function of this form or of the other; it was to
        // be called with this signal.
        unsafe {
            if self.with_info {
                transmute::<usize, WithInfo>(self.address)(signal, info, context);
            } else {
                transmute::<usize, Plain>(self.address)(signal);
            }
        }
    }
}

/// The handler that ours calls: the former one, also after the wait. Once stored, a handler is never changed or freed,
/// since a signal on another thread may be reading it; another is stored only if the former handler is another.
static FORMER: AtomicPtr<Handler> = AtomicPtr::new(null_mut());

/// Set by the handler, once the former one is done.
static ARRIVED: AtomicBool = AtomicBool::new(false);

/// Somebody put a handler on top of ours during a wait. Theirs may call ours for as long as the process lives; so from
/// then on FORMER stays as it is, or the two could come to call each other for ever. Waits still end if theirs does
/// call ours.
static OVERLAID: AtomicBool = AtomicBool::new(false);

/// In a static to have one address, by which it is known again.
static OURS: WithInfo = on_sigint;

extern "C" fn on_sigint(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    // SAFETY: not NULL, since stored before this handler is installed; what it points to is never freed or written.
    let former = unsafe { *FORMER.load(Ordering::Acquire) };
    former.call(signal, info, context);
    // Last: this may be another thread than the one that waits, which is to find CPython's own note when it looks.
    ARRIVED.store(true, Ordering::Release);
}

/// Our handler in front of the former one, until it is dropped.
pub struct Chain {
    /// What to put back; None if there was nothing to install.
    former: Option<sigaction>,
}

impl Chain {
    /// Installs our handler, unless SIGINT is ignored or kills the process (either shall stay as it is), or ours is in
    /// place from a wait around this one. On the main thread only.
    pub fn install() -> Self {
        // Before the installation: a SIGINT after it is not to be missed.
        ARRIVED.store(false, Ordering::Relaxed);
        let former = act(None);
        let Some(handler) = Handler::of(&former) else { return Self { former: None } };
        // SAFETY: NULL, or stored below and never freed.
        let known = unsafe { FORMER.load(Ordering::Relaxed).as_ref() } == Some(&handler);
        if handler.address == OURS as usize || OVERLAID.load(Ordering::Relaxed) && !known {
            return Self { former: None };
        }
        if !known {
            FORMER.store(Box::into_raw(Box::new(handler)), Ordering::Release);
        }
        let mut ours = former;
        ours.sa_sigaction = OURS as usize;
        // The former's mask and flags stay, as it runs inside ours. SA_ONSTACK only matters to a thread that has an
        // alternative stack, and such a thread may have too little of the other (CPython: PyOS_setsig).
        ours.sa_flags |= libc::SA_SIGINFO | libc::SA_ONSTACK;
        act(Some(&ours));
        Self { former: Some(former) }
    }

    /// Did a SIGINT arrive since the installation?
    #[inline]
    pub fn arrived(&self) -> bool {
        ARRIVED.load(Ordering::Acquire)
    }
}

impl Drop for Chain {
    fn drop(&mut self) {
        let Some(former) = &self.former else { return };
        let replaced = act(Some(former));
        if replaced.sa_sigaction != OURS as usize {
            // Somebody else's by now: that stays.
            act(Some(&replaced));
            if Handler::of(&replaced).is_some_and(|theirs| Handler::of(former) != Some(theirs)) {
                OVERLAID.store(true, Ordering::Relaxed);
            }
        }
    }
}

/// Is this the thread that the process started with? It is the one whose signal handlers Python runs, except where
/// Python was embedded in another thread; nothing is lost there but the early end.
pub fn on_main_thread() -> bool {
    #[cfg(target_os = "linux")]
    return rustix::thread::gettid() == rustix::process::getpid();
    // SAFETY: without conditions.
    #[cfg(target_os = "macos")]
    return unsafe { libc::pthread_main_np() } == 1;
    #[cfg(not(any(target_os = "linux", target_os = "macos")))]
    return false;
}

/// Sets the action of SIGINT, if one is given, and returns the one before.
fn act(new: Option<&sigaction>) -> sigaction {
    let mut old = MaybeUninit::uninit();
    // SAFETY: both pointers are NULL or valid; `new` holds OURS or what sigaction(2) itself gave.
    let result = unsafe { sigaction(libc::SIGINT, new.map_or(null(), std::ptr::from_ref), old.as_mut_ptr()) };
    // It fails for a bad signal number or a bad pointer only.
    assert_eq!(result, 0, "sigaction(2) on SIGINT failed");
    // SAFETY: written, since it did not fail.
    unsafe { old.assume_init() }
}
