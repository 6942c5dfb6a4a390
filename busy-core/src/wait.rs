//! The busy wait, with variants that can be ended early.

use crate::clock::monotonic_ns;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// The longest wait that the C ABI and the Python module accept, in nanoseconds: 2^63 - 1, or 292 years. Every accepted
/// duration fits into a signed 64-bit integer.
pub const MAX_WAIT_NS: u64 = i64::MAX as u64;

/// The result of a busy wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waited {
    /// The number of polls of CLOCK_MONOTONIC made before the end.
    pub count: u64,
    /// The time from the first poll to the last one. If `completed` is true, it is at least the requested duration.
    pub elapsed: Duration,
    /// False if the wait was cancelled.
    pub completed: bool,
}

/// Spins on CLOCK_MONOTONIC for `duration` and never returns early. It overshoots by about one poll (20 to 60 ns), or
/// by more if the kernel runs another thread at the end.
///
/// Durations above `u64::MAX` nanoseconds (584 years) are reduced to this value.
#[inline]
pub fn busy_wait(duration: Duration) -> Waited {
    busy_wait_while(duration, |_| true)
}

/// Spins like [`busy_wait`], and ends within one poll if another thread stores `true` in `cancel`.
#[inline]
pub fn busy_wait_cancellable(duration: Duration, cancel: &AtomicBool) -> Waited {
    busy_wait_while(duration, |_| !cancel.load(Ordering::Relaxed))
}

/// Spins like [`busy_wait`], and calls `go_on` with the elapsed nanoseconds after each poll before the end. If `go_on`
/// returns false, the wait ends. `go_on` runs inside the loop, so its duration adds to the time between two polls.
#[inline]
pub fn busy_wait_while(duration: Duration, mut go_on: impl FnMut(u64) -> bool) -> Waited {
    let length = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    let start = monotonic_ns();
    let mut count = 0;
    loop {
        let elapsed = monotonic_ns() - start;
        let completed = elapsed >= length;
        if completed || !go_on(elapsed) {
            return Waited { count, elapsed: Duration::from_nanos(elapsed), completed };
        }
        count += 1;
    }
}

/// Runs the loop of the talk (slide 13): counts how often `time`, a clock of whole seconds such as time(2), can be read
/// until it has advanced by more than `seconds`. So it takes between `seconds` and `seconds + 1`, or longer if that
/// clock is set back. Use it to compare counts with those of the talk; [`busy_wait`] is the exact wait.
#[inline]
pub fn busy_wait_whole_seconds(seconds: u64, mut time: impl FnMut() -> i64) -> u64 {
    let start = time();
    let last = start.saturating_add_unsigned(seconds);
    let mut count = 0;
    while time() <= last {
        count += 1;
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn never_ends_early() {
        for micros in [0, 1, 3, 17, 50, 999] {
            let duration = Duration::from_micros(micros);
            let start = Instant::now();
            let waited = busy_wait(duration);
            assert!(start.elapsed() >= duration, "{duration:?} ended early");
            assert!(waited.elapsed >= duration && waited.completed);
        }
    }

    #[test]
    fn counts_the_polls_before_the_end() {
        let mut calls = 0;
        let waited = busy_wait_while(Duration::from_millis(1), |_| {
            calls += 1;
            true
        });
        assert_eq!(waited.count, calls);
        assert!(waited.count > 0);
        assert_eq!(busy_wait(Duration::ZERO).count, 0);
    }

    #[test]
    fn a_cancelled_wait_ends_at_once_and_is_not_completed() {
        let cancel = AtomicBool::new(true);
        let waited = busy_wait_cancellable(Duration::MAX, &cancel);
        assert!(!waited.completed);
        assert_eq!(waited.count, 0);
    }

    #[test]
    fn another_thread_cancels() {
        let cancel = AtomicBool::new(false);
        let waited = std::thread::scope(|scope| {
            let waiter = scope.spawn(|| busy_wait_cancellable(Duration::from_secs(600), &cancel));
            std::thread::sleep(Duration::from_millis(5));
            cancel.store(true, Ordering::Relaxed);
            waiter.join().unwrap()
        });
        assert!(!waited.completed && waited.count > 0);
    }

    #[test]
    fn the_talks_loop_ends_once_more_than_the_seconds_have_passed() {
        // A clock that advances by one second every ten reads, including the first read.
        let clock = |first: i64| {
            let mut reads = 0;
            move || {
                reads += 1;
                first + (reads - 1) / 10
            }
        };
        assert_eq!(busy_wait_whole_seconds(0, clock(1000)), 9);
        assert_eq!(busy_wait_whole_seconds(2, clock(1000)), 29);
    }
}
