//! Ctrl-C, SIGTERM and SIGHUP: the first one asks the lab to stop and keep its results so far, a second one ends it at once.

use super::signals;
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

static REQUESTED: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// The signal that asked the lab to stop; 0 if none did.
static SIGNAL: OnceLock<Arc<AtomicUsize>> = OnceLock::new();

/// Catches SIGINT, SIGTERM and SIGHUP from now on, except those that were ignored when the command started: nohup ignores
/// SIGHUP, and a shell without job control ignores SIGINT for a command in the background.
///
/// # Errors
/// None in practice: these signals can be caught.
pub fn catch() -> io::Result<()> {
    let requested = REQUESTED.get_or_init(Arc::default);
    let ignored = signals::ignored();
    for signal in [SIGINT, SIGTERM, SIGHUP].into_iter().filter(|signal| !ignored.contains(signal)) {
        // Registered first, so that it takes effect from the second signal on.
        flag::register_conditional_default(signal, Arc::clone(requested))?;
        // Set before the request, so that it is known once the request is seen.
        flag::register_usize(signal, Arc::clone(SIGNAL.get_or_init(Arc::default)), signal as usize)?;
        flag::register(signal, Arc::clone(requested))?;
    }
    signals::unblock_all();
    // While SIGCHLD is ignored, children leave no status to wait for (wait(2)).
    signals::stop_ignoring(ignored.into_iter().filter(|signal| *signal == SIGCHLD));
    Ok(())
}

/// Returns true once the lab was asked to stop.
pub fn requested() -> bool {
    REQUESTED.get().is_some_and(|requested| requested.load(Ordering::Relaxed))
}

/// Returns the exit code of a command that a signal asked to stop, as a shell reports it: 128 and the signal's number. None if
/// none did.
pub fn exit_code() -> Option<u8> {
    let signal = SIGNAL.get().map_or(0, |signal| signal.load(Ordering::Relaxed));
    u8::try_from(signal).ok().filter(|_| requested()).map(|signal| 128 + signal)
}

/// Returns true if Ctrl-C asked the lab to stop, and not SIGTERM or SIGHUP.
pub fn by_ctrl_c() -> bool {
    exit_code() == Some(128 + SIGINT as u8)
}
