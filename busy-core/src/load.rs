//! A load of a given size: threads that each use a given share of a core, in short periods.
//!
//! Each thread is a closed loop on its own CPU clock. Within every period it spins until it has used the CPU time that
//! is due at the end of the period, counted from the start of the load. So the cost of sleeping and waking is part of
//! the share, and later periods make up for CPU time that one period has missed.

use crate::clock::monotonic_ns;
use crate::cpu::{current_run_delay, current_thread};
use crate::wait::busy_wait_while;
use std::io;
use std::thread;
use std::time::Duration;

/// The parameters of a load.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Load {
    /// The number of threads, 1 to [`MOST_THREADS`].
    pub threads: usize,
    /// The share of a core that each thread uses, 0 to 1.
    pub share: f64,
    /// The duration of one round of spinning and sleeping, which must not be zero. Periods below 100 µs count as 100
    /// µs.
    pub period: Duration,
    /// The total duration.
    pub duration: Duration,
}

/// The result of a load.
#[derive(Debug, Clone, PartialEq)]
pub struct Achieved {
    /// The time from the start of the first thread to the end of the last one.
    pub elapsed: Duration,
    /// The result of each thread.
    pub threads: Vec<ThreadLoad>,
    /// False if the load was cancelled.
    pub completed: bool,
}

/// The result of one thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ThreadLoad {
    /// The time from its start to its end.
    pub elapsed: Duration,
    /// The CPU time that it used in this time.
    pub cpu: Duration,
    /// Its run delay in this time: the time that it was runnable without a CPU. None if the system does not report it.
    pub run_delay: Option<Duration>,
}

/// The reason why a load can't run.
#[derive(Debug)]
pub enum LoadError {
    /// The number of threads is zero or too large.
    Threads(usize),
    /// The share is not a number from 0 to 1.
    Share(f64),
    /// The period is zero.
    NoPeriod,
    /// The system can't create another thread.
    Spawn(io::Error),
}

/// The maximum number of threads of one load: more than any machine has cores.
pub const MOST_THREADS: usize = 4096;

/// The maximum number of periods that a thread makes up for after it had no CPU. If it made up for all of them, the
/// load could be 100 % for a long time.
const MOST_BEHIND: u32 = 10;
/// The shortest round. A sleep takes at least 60 µs, so shorter rounds would end before their sleep. The thread would
/// only count rounds, and would never end if a round were shorter than the time to count it.
const SHORTEST_PERIOD: Duration = Duration::from_micros(100);
/// The maximum time between two reads of the CPU clock, and of one sleep without a call of `go_on`.
const STRETCH: Duration = Duration::from_millis(10);
/// The maximum duration and period: 34,865 years. It can be added and multiplied without overflow.
const FOREVER: Duration = Duration::from_secs(1 << 40);

impl Load {
    /// Runs the load in new threads and returns when all of them have ended. If `go_on` returns false, the load ends
    /// early; it is called at least every 10 ms.
    ///
    /// # Errors
    /// [`LoadError`]. No thread is left running.
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
            // If one thread can't be started, the earlier ones must end. The scope waits for them.
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
        let run_delay_at_start = current_run_delay();
        let (start, cpu_at_start) = (monotonic_ns(), current_thread());
        let elapsed = || Duration::from_nanos(monotonic_ns() - start);
        let used = || current_thread() - cpu_at_start;
        // The CPU time that was due but will not be made up for.
        let mut dropped = Duration::ZERO;
        let mut end = Duration::ZERO;
        let (period, duration) = (self.period.clamp(SHORTEST_PERIOD, FOREVER), self.duration.min(FOREVER));
        while end < duration && go_on() {
            end = (end + period).min(duration);
            let due = end.mul_f64(self.share).saturating_sub(dropped);
            dropped += due.saturating_sub(used() + period * MOST_BEHIND);
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
        let (elapsed, cpu) = (elapsed(), used());
        let run_delay = current_run_delay().zip(run_delay_at_start).map(|(end, start)| end.saturating_sub(start));
        ThreadLoad { elapsed, cpu, run_delay }
    }
}

impl Achieved {
    /// Returns the run delay of the threads as a share of their time, on average. None if the system does not report it.
    pub fn run_delay_share(&self) -> Option<f64> {
        let run_delays: Option<Vec<Duration>> = self.threads.iter().map(|thread| thread.run_delay).collect();
        let elapsed = self.threads.iter().map(|thread| thread.elapsed).sum::<Duration>().as_secs_f64();
        Some(run_delays?.iter().sum::<Duration>().as_secs_f64() / elapsed.max(f64::MIN_POSITIVE))
    }

    /// Returns the share of a core that the threads used, on average.
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
            Self::Spawn(error) => write!(out, "can't create another thread: {error}; use fewer threads"),
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
            // The share may be smaller if other processes use the cores, but never larger.
            assert!((0.02..0.21).contains(&share), "{share}");
        }
        assert!((0.02..0.21).contains(&achieved.share()));
    }

    #[test]
    fn a_share_of_0_uses_almost_no_cpu_and_a_share_of_1_all_that_is_available() {
        assert!(load(1, 0.0, Duration::from_millis(200)).run(|| true).unwrap().share() < 0.1);
        let uses_all = || {
            let all = load(1, 1.0, Duration::from_millis(200)).run(|| true).unwrap();
            assert!(all.share() < 1.01, "{all:?}");
            // Other processes may have used the core for the rest of the time.
            all.share() + all.run_delay_share().unwrap_or(0.0) > 0.9
        };
        // A hypervisor may have given it to another machine, which this one can't see.
        assert!((0..10).any(|_| uses_all()));
    }

    #[test]
    fn it_ends_once_go_on_returns_false() {
        let calls = AtomicU32::new(0);
        let go_on = || calls.fetch_add(1, Ordering::Relaxed) < 20;
        let longest = Load { period: Duration::MAX, ..load(2, 1.0, Duration::MAX) };
        let achieved = longest.run(go_on).unwrap();
        assert!(!achieved.completed);
    }

    #[test]
    fn invalid_parameters_are_refused() {
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
