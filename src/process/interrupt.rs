//! Ctrl-C: the first one asks the lab to stop and keep its results so far, a second one ends it at once.

use super::signals;
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

static REQUESTED: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// The exit code of an interrupted command, as a shell reports it for SIGINT.
pub const EXIT_CODE: u8 = 130;

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
