//! Deadlines at a constant rate, for samplers.

use crate::clock::monotonic_ns;
use std::hash::{BuildHasher, RandomState};
use std::num::NonZero;
use std::thread;
use std::time::Duration;

/// Deadlines on CLOCK_MONOTONIC, `hz` per second, counted from the start: a late wait does not delay the next deadline.
/// A deadline that has passed before the work of the previous one ends is missed: it is counted, but not made up for.
/// So at most `hz * t + 1` deadlines are met in t seconds.
#[derive(Debug)]
pub struct Pace {
    hz: NonZero<u32>,
    start_ns: u64,
    /// The number of the next deadline; the first one, 0, is the start.
    next: u64,
    missed: u64,
    /// For [`Pace::scattered`]: draws the place of each deadline in its interval.
    draw: Option<RandomState>,
}

impl Pace {
    /// Returns a pace that starts now.
    pub fn start(hz: NonZero<u32>) -> Self {
        Self { hz, start_ns: monotonic_ns(), next: 0, missed: 0, draw: None }
    }

    /// Returns a pace that starts now, with each deadline at a random place in its interval of 1/`hz` seconds. So all
    /// phases of a periodic activity are sampled equally, even if its period is 1/`hz` seconds, too.
    pub fn scattered(hz: NonZero<u32>) -> Self {
        Self { draw: Some(RandomState::new()), ..Self::start(hz) }
    }

    /// Sleeps until the next deadline and returns true. Returns false as soon as `go_on` returns false. `go_on` is
    /// called at the start and whenever the thread is unparked (`std::thread::Thread::unpark`).
    pub fn wait(&mut self, go_on: impl Fn() -> bool) -> bool {
        let deadline_ns = self.choose(monotonic_ns());
        while go_on() {
            let left = deadline_ns.saturating_sub(monotonic_ns());
            if left == 0 {
                return true;
            }
            thread::park_timeout(Duration::from_nanos(left));
        }
        false
    }

    /// Returns the number of deadlines missed so far.
    pub fn missed(&self) -> u64 {
        self.missed
    }

    /// Returns the first deadline that has not passed. The start counts as not passed.
    fn choose(&mut self, now_ns: u64) -> u64 {
        const SECOND: u128 = 1_000_000_000;
        let hz = u128::from(self.hz.get());
        let passed = (u128::from(now_ns.saturating_sub(self.start_ns)) * hz / SECOND) as u64;
        if self.next > 0 {
            // A scattered deadline of the current interval has not been missed yet.
            let next = self.next.max(if self.draw.is_some() { passed } else { passed + 1 });
            self.missed += next - self.next;
            self.next = next;
        }
        // In fixed point: intervals, and 2^-32 of an interval.
        let within = self.draw.as_ref().map_or(0, |draw| draw.hash_one(self.next) >> 32);
        let steps = (u128::from(self.next) << 32) + u128::from(within);
        // Rounded up, so that the wait never ends before the deadline.
        let deadline_ns = self.start_ns + (steps * SECOND).div_ceil(hz << 32) as u64;
        self.next += 1;
        deadline_ns
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering};

    fn pace(hz: u32) -> Pace {
        Pace { hz: NonZero::new(hz).unwrap(), start_ns: 1000, next: 0, missed: 0, draw: None }
    }

    #[test]
    fn deadlines_do_not_drift_if_waits_are_late() {
        for hz in [1, 3, 7, 10, 999, 1000] {
            let mut pace = pace(hz);
            let mut now = 1000;
            for number in 0..10 * u64::from(hz) {
                let deadline = pace.choose(now);
                assert_eq!(deadline, 1000 + (number * 1_000_000_000).div_ceil(u64::from(hz)), "{number} at {hz} Hz");
                now = deadline + 900_000 / u64::from(hz);
            }
            assert_eq!(pace.missed(), 0);
        }
    }

    #[test]
    fn missed_deadlines_are_counted_and_not_made_up_for() {
        let ms = |ms: u64| 1000 + ms * 1_000_000;
        let mut pace = pace(100);
        assert_eq!((pace.choose(ms(0)), pace.missed()), (ms(0), 0));
        // At its exact time a deadline counts as passed, since there is no time left to sleep.
        assert_eq!((pace.choose(ms(10)), pace.missed()), (ms(20), 1));
        assert_eq!((pace.choose(ms(77)), pace.missed()), (ms(80), 6));
        assert_eq!((pace.choose(ms(81)), pace.missed()), (ms(90), 6));
        // The start is met even if the first call is late.
        let mut late = self::pace(100);
        assert_eq!((late.choose(ms(55)), late.missed()), (ms(0), 0));
        assert_eq!((late.choose(ms(55)), late.missed()), (ms(60), 5));
    }

    #[test]
    fn scattered_deadlines_are_spread_evenly_over_their_intervals() {
        const STEP_NS: u64 = 200_000;
        let mut pace = Pace { draw: Some(RandomState::new()), ..pace(5000) };
        let mut quarters = [0; 4];
        for number in 0..4000 {
            let start = 1000 + number * STEP_NS;
            // The deadline is chosen before the interval begins, in its middle, or at its end.
            let deadline = pace.choose(start + [0, STEP_NS / 2, STEP_NS - 1][number as usize % 3]);
            assert!((start..=start + STEP_NS).contains(&deadline), "{number} at {deadline}");
            quarters[((deadline - start) * 4 / STEP_NS).min(3) as usize] += 1;
        }
        assert_eq!(pace.missed(), 0);
        // A fair draw deviates by 160 or more in one of 10^8 runs.
        assert!(quarters.iter().all(|count| (840..1160).contains(count)), "{quarters:?}");
        pace.choose(1000 + 4003 * STEP_NS);
        assert_eq!(pace.missed(), 3);
    }

    #[test]
    fn no_deadline_is_early_and_each_is_met_or_missed() {
        let mut pace = Pace::start(NonZero::new(500).unwrap());
        let start = pace.start_ns;
        let mut stamps = Vec::new();
        while monotonic_ns() - start < 200_000_000 && pace.wait(|| true) {
            stamps.push(monotonic_ns() - start);
        }
        assert!(stamps.is_sorted());
        for (number, stamp) in (0..).zip(&stamps) {
            assert!(*stamp >= number * 2_000_000, "{number} at {stamp} ns");
        }
        // Each deadline was met once, or missed.
        assert!(stamps.len() >= 2);
        assert_eq!(stamps.len() as u64 + pace.missed(), pace.next);
    }

    #[test]
    fn a_wait_ends_once_go_on_returns_false() {
        let go_on = AtomicBool::new(true);
        thread::scope(|scope| {
            let waiting = scope.spawn(|| {
                let mut pace = Pace::start(NonZero::<u32>::MIN);
                (0..20).take_while(|_| pace.wait(|| go_on.load(Ordering::Relaxed))).count()
            });
            thread::sleep(Duration::from_millis(50));
            go_on.store(false, Ordering::Relaxed);
            waiting.thread().unpark();
            assert!(waiting.join().unwrap() < 20);
        });
    }
}
