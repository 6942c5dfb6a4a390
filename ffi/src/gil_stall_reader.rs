//! The thread that looks for stalls. It needs no GIL, so it sees the next stall even while the one before is reported by a
//! thread that waits for the GIL.

use crate::gil_state::{STATE, metered};
use crate::status::{BUSY_CANCELLED, BUSY_GIL_OFF, BUSY_GIL_REFUSED, BUSY_TIMED_OUT, busy_status};
use busy_gil::{Stall, Stalls};
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

/// The number of stalls that are kept until they are reported, the latest ones.
const KEPT: usize = 16;
/// The time after which a caller notices that the meter was stopped.
const PATIENCE: Duration = Duration::from_millis(50);

/// Finds stalls, from the first call of [`StallReader::next`] on.
pub(crate) struct StallReader {
    stage: Mutex<Stage>,
    shared: Arc<Shared>,
}

enum Stage {
    /// Nobody has asked for a stall yet.
    New(Option<Stalls>),
    Running(JoinHandle<()>),
}

/// What the thread and the callers share.
struct Shared {
    found: Mutex<Found>,
    changed: Condvar,
}

#[derive(Default)]
struct Found {
    stalls: VecDeque<Stall>,
    is_stopped: bool,
    /// The thread has ended, after the stop.
    has_ended: bool,
}

impl StallReader {
    pub(crate) fn new(stalls: Stalls) -> Self {
        let shared = Arc::new(Shared { found: Mutex::default(), changed: Condvar::new() });
        Self { stage: Mutex::new(Stage::New(Some(stalls))), shared }
    }

    /// Returns the next stall, or the status if there is none up to `timeout` after the thread has begun.
    pub(crate) fn next(&self, timeout: Duration) -> Result<Stall, busy_status> {
        if !self.begin()? {
            return Err(BUSY_CANCELLED);
        }
        let deadline = Instant::now().checked_add(timeout);
        loop {
            if STATE.lock().meters.is_empty() {
                return Err(BUSY_GIL_OFF);
            }
            let mut found = locked(&self.shared.found);
            if let Some(stall) = found.stalls.pop_front() {
                drop(found);
                return metered(|_, _| Ok(stall));
            }
            if found.has_ended {
                return Err(BUSY_CANCELLED);
            }
            let left = deadline.map_or(PATIENCE, |deadline| deadline.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                return Err(BUSY_TIMED_OUT);
            }
            drop(wait(&self.shared, found, left.min(PATIENCE)));
        }
    }

    /// Makes the calls of `next` end, now and later, once they have returned what was found until now.
    pub(crate) fn stop(&self) {
        locked(&self.shared.found).is_stopped = true;
        self.shared.changed.notify_all();
    }

    /// Prepares the reading of stacks, and starts the thread, unless that was done. Returns false if the stop came before.
    fn begin(&self) -> Result<bool, busy_status> {
        let mut stage = locked(&self.stage);
        let Stage::New(stalls) = &mut *stage else { return Ok(true) };
        if locked(&self.shared.found).is_stopped {
            return Ok(false);
        }
        let Some(mut stalls) = stalls.take() else { return Err(BUSY_GIL_REFUSED) };
        stalls.attach();
        let shared = Arc::clone(&self.shared);
        let thread = signals_blocked(|| Builder::new().name("busy stalls".into()).spawn(move || run(stalls, &shared)));
        *stage = Stage::Running(thread.map_err(|error| {
            STATE.lock().reason = format!("the thread that looks for stalls can't be created: {error}");
            BUSY_GIL_REFUSED
        })?);
        Ok(true)
    }
}

impl Drop for StallReader {
    fn drop(&mut self) {
        self.stop();
        let stage = self.stage.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Stage::Running(thread) = std::mem::replace(stage, Stage::New(None)) {
            drop(thread.join());
        }
    }
}

/// Looks for stalls until the stop.
fn run(mut stalls: Stalls, shared: &Shared) {
    let mut found = locked(&shared.found);
    loop {
        let is_stopped = found.is_stopped;
        drop(found);
        let new: Vec<_> = std::iter::from_fn(|| stalls.look()).collect();
        found = locked(&shared.found);
        new.into_iter().for_each(|stall| found.keep(stall));
        found.has_ended = is_stopped;
        if is_stopped || !found.stalls.is_empty() {
            shared.changed.notify_all();
        }
        if is_stopped {
            return;
        }
        if !found.is_stopped {
            found = wait(shared, found, stalls.period());
        }
    }
}

impl Found {
    fn keep(&mut self, stall: Stall) {
        if self.stalls.len() == KEPT
            && let Some(lost) = self.stalls.pop_front()
            && let Some(next) = self.stalls.front_mut()
        {
            next.missed += lost.missed + 1;
        }
        self.stalls.push_back(stall);
    }
}

fn wait<'a>(shared: &Shared, found: MutexGuard<'a, Found>, most: Duration) -> MutexGuard<'a, Found> {
    shared.changed.wait_timeout(found, most).unwrap_or_else(PoisonError::into_inner).0
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs `body`, which starts a thread, with all signals blocked: the thread inherits that, so that the program's signals
/// are handled by its own threads.
#[cfg(unix)]
fn signals_blocked<T>(body: impl FnOnce() -> T) -> T {
    // SAFETY: sets of signals, for which zeros are valid and which sigfillset(3) fills; the second call restores the first
    // one's.
    unsafe {
        let (mut all, mut before) = std::mem::zeroed::<(libc::sigset_t, libc::sigset_t)>();
        libc::sigfillset(&mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &all, &mut before);
        let result = body();
        libc::pthread_sigmask(libc::SIG_SETMASK, &before, std::ptr::null_mut());
        result
    }
}

#[cfg(not(unix))]
fn signals_blocked<T>(body: impl FnOnce() -> T) -> T {
    body()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_stalls_are_kept_and_the_others_are_counted() {
        let stall = |id: u64| Stall {
            interpreter: 0,
            id,
            tid: 7,
            at_ns: 0,
            held_ns: 0,
            waiting: 1,
            waiters: Vec::new(),
            stack: Ok(Vec::new()),
            missed: id % 2,
        };
        let mut found = Found::default();
        (0..KEPT as u64 + 3).for_each(|id| found.keep(stall(id)));
        let kept: Vec<_> = found.stalls.iter().map(|stall| (stall.id, stall.missed)).collect();
        assert_eq!(kept.len(), KEPT);
        // Three, and those that two of the four had missed.
        assert_eq!(kept[..2], [(3, 5), (4, 0)]);
    }
}
