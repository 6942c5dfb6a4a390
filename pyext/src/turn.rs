//! Starts and stops of the meter, one at a time.
//!
//! busy-gil-meter has a lock of its own for this, but a thread that finds it taken opens it (`State::try_lock` makes a `Lock` in
//! vain, whose end unlocks): two starts at once then undo each other, and a sound GIL is refused. The C face has a lock, too.

use pyo3::prelude::*;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::Duration;

/// The process whose turn it is; 0 if nobody's. One of another process's was inherited by fork(2), without its thread.
static TURN: AtomicU32 = AtomicU32::new(0);

/// Whoever has this may start or stop the meter.
pub struct Turn(());

impl Turn {
    /// Waits, without the GIL: who has the turn may need it.
    pub fn take(py: Python<'_>) -> Self {
        let own = std::process::id();
        loop {
            let now = TURN.load(Ordering::Relaxed);
            let is_free = now != own;
            if is_free && TURN.compare_exchange(now, own, Ordering::Acquire, Ordering::Relaxed).is_ok() {
                return Self(());
            }
            py.detach(|| sleep(Duration::from_micros(100)));
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        TURN.store(0, Ordering::Release);
    }
}
