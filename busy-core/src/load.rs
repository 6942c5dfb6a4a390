//! A load of a given size: threads that use a given share of a core each, in short periods.
//!
//! Each thread is a closed loop on its own CPU clock: within every period it spins until it has used what is due by the
//! period's end, counted from the start of the load. So what sleeping and waking cost is part of the share, and what
//! one period missed the next ones make good.

use crate::busy_wait_while;
use crate::clock::monotonic_ns;
use crate::cpu::current_thread;
use std::io;
use std::thread;
use std::time::Duration;

/// A load, as asked for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Load {
    /// How many threads, 1 to [`MOST_THREADS`].
    pub threads: usize,
    /// What each uses of a core, 0 to 1.
    pub share: f64,
    /// How long one round of spinning and sleeping takes; more than zero. Under 100 µs it counts as 100 µs.
    pub period: Duration,
    /// How long all goes on.
    pub duration: Duration,
}

/// What a load achieved.
#[derive(Debug, Clone, PartialEq)]
pub struct Achieved {
    /// Time from the first thread's start to the last one's end.
    pub elapsed: Duration,
    /// Each thread's part.
    pub threads: Vec<ThreadLoad>,
    /// False if it was cancelled.
    pub completed: bool,
}

/// What one thread achieved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ThreadLoad {
    /// From its start to its end.
    pub elapsed: Duration,
    /// CPU time used meanwhile.
    pub cpu: Duration,
}

/// Why a load can't be run.
#[derive(Debug)]
pub enum LoadError {
    /// So many threads, which are none or too many.
    Threads(usize),
    /// The share is no number from 0 to 1.
    Share(f64),
    /// The period is zero.
    NoPeriod,
    /// The system gives no more threads.
    Spawn(io::Error),
}

/// The most threads of one load: more than any machine has cores.
pub const MOST_THREADS: usize = 4096;

/// A thread behind by more periods than this, since it got no core, lets the rest go: making it all good would be a load
/// of 100 % for as long.
const MOST_BEHIND: u32 = 10;
/// Shorter rounds end before a sleep does, which takes 60 µs and more: the thread would do nothing but count rounds, and
/// of rounds shorter than the counting it would never come to the end.
const SHORTEST_PERIOD: Duration = Duration::from_micros(100);
/// The longest stretch without a look at the CPU clock, or asleep without a look at `go_on`.
const STRETCH: Duration = Duration::from_millis(10);
/// No load goes on for longer: 34,865 years, what can be counted with safely.
const FOREVER: Duration = Duration::from_secs(1 << 40);

impl Load {
    /// Runs the load in threads of its own and returns when all have ended, before its time once `go_on` returns false
    /// (it is asked at least every 10 ms).
    ///
    /// # Errors
    /// [`LoadError`]; no thread is left running.
    pub fn run(&self, go_on: impl Fn() -> bool + Sync) -> Result<Achieved, LoadError> {
        if !(1..=MOST_THREADS).contains(&self.threads) {
            return Err(LoadError::Threads(self.threads));
        }
        if !(0.0..=1.0).contains(&self.share) {
            return Err(LoadError::Share(self.share));
        }
        if self.period.is_zero() {
            return Err(LoadError::NoPeriod);
        }
        let failed = std::sync::atomic::AtomicBool::new(false);
        let go_on = || !failed.load(std::sync::atomic::Ordering::Relaxed) && go_on();
        let start = monotonic_ns();
        let threads = thread::scope(|scope| {
            let spawn = |_| thread::Builder::new().name("busy-load".into()).spawn_scoped(scope, || self.one(&go_on));
            let spawned: Result<Vec<_>, _> = (0..self.threads).map(spawn).collect();
            // Should one fail, those before it are to end; the scope waits for them.
            failed.store(spawned.is_err(), std::sync::atomic::Ordering::Relaxed);
            let join = |thread: thread::ScopedJoinHandle<'_, _>| thread.join().expect("the loop does not panic");
            spawned.map(|threads| threads.into_iter().map(join).collect::<Vec<_>>())
        });
        let threads = threads.map_err(LoadError::Spawn)?;
        let elapsed = Duration::from_nanos(monotonic_ns() - start);
        let completed = threads.iter().all(|thread| thread.elapsed >= self.duration.min(FOREVER));
        Ok(Achieved { elapsed, threads, completed })
    }

    fn one(&self, go_on: &impl Fn() -> bool) -> ThreadLoad {
        let (start, cpu_at_start) = (monotonic_ns(), current_thread());
        let elapsed = || Duration::from_nanos(monotonic_ns() - start);
        let used = || current_thread() - cpu_at_start;
        // What is due at `time`, less what was let go.
        let mut let_go = Duration::ZERO;
        let mut end = Duration::ZERO;
        let (period, duration) = (self.period.clamp(SHORTEST_PERIOD, FOREVER), self.duration.min(FOREVER));
        while end < duration && go_on() {
            end = (end + period).min(duration);
            let due = end.mul_f64(self.share).saturating_sub(let_go);
            let_go += due.saturating_sub(used() + period * MOST_BEHIND);
            loop {
                let (left, time) = (due.saturating_sub(used()), end.saturating_sub(elapsed()));
                if left.is_zero() || time.is_zero() || !go_on() {
                    break;
                }
                busy_wait_while(left.min(time).min(STRETCH), |_| true);
            }
            while go_on() {
                let left = end.saturating_sub(elapsed());
                if left.is_zero() {
                    break;
                }
                thread::sleep(left.min(STRETCH));
            }
        }
        ThreadLoad { elapsed: elapsed(), cpu: used() }
    }
}

impl Achieved {
    /// What the threads used of a core, on average.
    pub fn share(&self) -> f64 {
        let sum = |part: fn(&ThreadLoad) -> Duration| self.threads.iter().map(part).sum::<Duration>().as_secs_f64();
        sum(|thread| thread.cpu) / sum(|thread| thread.elapsed).max(f64::MIN_POSITIVE)
    }
}

impl std::fmt::Display for LoadError {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Threads(threads) => write!(out, "expected 1 to {MOST_THREADS} threads, found {threads}"),
            Self::Share(share) => write!(out, "expected a share from 0 to 1, found {share}"),
            Self::NoPeriod => write!(out, "expected a period longer than zero"),
            Self::Spawn(error) => write!(out, "the system gives no more threads: {error}; ask for fewer"),
        }
    }
}

impl std::error::Error for LoadError {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    fn load(threads: usize, share: f64, duration: Duration) -> Load {
        Load { threads, share, period: Duration::from_millis(5), duration }
    }

    #[test]
    fn every_thread_uses_its_share_and_no_more() {
        let achieved = load(2, 0.2, Duration::from_millis(500)).run(|| true).unwrap();
        assert!(achieved.completed && achieved.threads.len() == 2);
        for thread in &achieved.threads {
            let share = thread.cpu.as_secs_f64() / thread.elapsed.as_secs_f64();
            // Less only where other processes leave none; more never.
            assert!((0.02..0.21).contains(&share), "{share}");
        }
        assert!((0.02..0.21).contains(&achieved.share()));
    }

    #[test]
    fn nothing_is_nearly_nothing_and_all_is_all_that_can_be_had() {
        assert!(load(1, 0.0, Duration::from_millis(200)).run(|| true).unwrap().share() < 0.1);
        let all = load(1, 1.0, Duration::from_millis(200)).run(|| true).unwrap();
        assert!(all.share() > 0.2 && all.share() < 1.01, "{all:?}");
    }

    #[test]
    fn it_ends_when_told_to() {
        let asked = AtomicU32::new(0);
        let go_on = || asked.fetch_add(1, Ordering::Relaxed) < 20;
        let longest = Load { period: Duration::MAX, ..load(2, 1.0, Duration::MAX) };
        let achieved = longest.run(go_on).unwrap();
        assert!(!achieved.completed);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let fine = load(1, 0.5, Duration::ZERO);
        assert!(fine.run(|| true).unwrap().completed);
        for threads in [0, MOST_THREADS + 1, usize::MAX] {
            assert!(matches!(Load { threads, ..fine }.run(|| true), Err(LoadError::Threads(_))));
        }
        for share in [-0.1, 1.1, f64::NAN, f64::INFINITY] {
            assert!(matches!(Load { share, ..fine }.run(|| true), Err(LoadError::Share(_))));
        }
        assert!(matches!(Load { period: Duration::ZERO, ..fine }.run(|| true), Err(LoadError::NoPeriod)));
    }
}
