//! The rate of the time stamp counter against CLOCK_MONOTONIC. CLOCK_MONOTONIC stands still while the machine is suspended
//! (clock_gettime(2)), but the counter may run on.

use std::sync::atomic::{AtomicU64, Ordering};

/// The readings of both clocks at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// The time stamp counter.
    pub ticks: u64,
    /// CLOCK_MONOTONIC.
    pub ns: u64,
}

/// The shortest time over which a rate is measured.
pub const SHORTEST_NS: u64 = 500_000;
/// The longest time over which the first rate is measured. Without an earlier rate, a suspension cannot be detected.
const LONGEST_FIRST_NS: u64 = 1_000_000_000;
/// By how much two rates may differ. NTP slews CLOCK_MONOTONIC by at most 500 ppm (adjtimex(2)), in either direction.
const SLEW: f64 = 0.001;
/// The longest error of two readings together: a thread may lose its CPU between the two clocks.
const READINGS_NS: f64 = 100_000.0;

/// A rate that is measured again and again, from a first reading to a new one. It has no lock, so a signal handler may
/// measure amid another measurement. Measurements at the same time may spoil one result; a later one finds that out.
#[derive(Debug, Default)]
pub struct Rate {
    first_ticks: AtomicU64,
    /// 0 before the first reading.
    first_ns: AtomicU64,
    /// The last result, as the bits of a float: 0 before the first.
    ns_per_tick: AtomicU64,
    /// The time over which that was measured: 0 if it is in doubt.
    over_ns: AtomicU64,
}

impl Rate {
    /// Returns a rate that was not measured yet.
    pub const fn new() -> Self {
        let [first_ticks, first_ns, ns_per_tick, over_ns] = [const { AtomicU64::new(0) }; 4];
        Self { first_ticks, first_ns, ns_per_tick, over_ns }
    }

    /// Returns a rate whose first reading is `first`.
    pub fn since(first: Reading) -> Self {
        let rate = Self::new();
        rate.begin(first);
        rate
    }

    /// Returns the nanoseconds per tick, averaged from the first reading to this one; `None` until they are far enough
    /// apart. If that differs from the last result by more than any slewing and any error of the readings, the machine was
    /// suspended since then, or the last result was spoilt. Then the result is the last one once more, this is the first
    /// reading from now on, and the next measurement decides.
    pub fn ns_per_tick(&self, now: Reading) -> Option<f64> {
        let known = Some(f64::from_bits(self.ns_per_tick.load(Ordering::Relaxed))).filter(|rate| *rate > 0.0);
        let first_ns = self.first_ns.load(Ordering::Acquire);
        if first_ns == 0 {
            self.begin(now);
            return known;
        }
        let over_ns = now.ns.saturating_sub(first_ns);
        if over_ns < SHORTEST_NS {
            return known;
        }
        // As a signed number, since the counter may have begun anew.
        let ticks = now.ticks.wrapping_sub(self.first_ticks.load(Ordering::Relaxed)) as i64;
        let measured = over_ns as f64 / ticks.max(1) as f64;
        let known_over_ns = self.over_ns.load(Ordering::Relaxed);
        let is_in_doubt = known_over_ns == 0;
        match known {
            None if over_ns > LONGEST_FIRST_NS => {
                self.begin(now);
                return None;
            }
            Some(known) if !is_in_doubt => {
                let tolerance = SLEW + READINGS_NS / known_over_ns as f64;
                if (measured / known - 1.0).abs() > tolerance {
                    self.begin(now);
                    self.over_ns.store(0, Ordering::Relaxed);
                    return Some(known);
                }
            }
            _ => {}
        }
        self.ns_per_tick.store(measured.to_bits(), Ordering::Relaxed);
        self.over_ns.store(over_ns, Ordering::Relaxed);
        Some(measured)
    }

    /// Returns the time over which the last result was measured: 0 if there is none, or if it is in doubt.
    pub fn over_ns(&self) -> u64 {
        self.over_ns.load(Ordering::Relaxed)
    }

    fn begin(&self, first: Reading) {
        self.first_ticks.store(first.ticks, Ordering::Relaxed);
        self.first_ns.store(first.ns, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine whose counter runs at 2 ticks per nanosecond.
    struct Machine {
        rate: Rate,
        now: Reading,
    }

    impl Machine {
        fn new() -> Self {
            let now = Reading { ticks: 7_000, ns: 5_000 };
            Self { rate: Rate::since(now), now }
        }

        fn runs(&mut self, ms: u64) -> Option<f64> {
            self.now = Reading { ticks: self.now.ticks + 2_000_000 * ms, ns: self.now.ns + 1_000_000 * ms };
            self.rate.ns_per_tick(self.now)
        }

        fn is_suspended(&mut self, ms: u64) {
            self.now.ticks += 2_000_000 * ms;
        }
    }

    #[test]
    fn the_time_of_a_suspended_machine_is_left_out() {
        let mut machine = Machine::new();
        assert_eq!(machine.runs(0), None);
        assert_eq!(machine.runs(1), Some(0.5));
        for asleep_ms in [5_000, 20, 40_000_000] {
            machine.is_suspended(asleep_ms);
            for ran_ms in [1, 7, 100] {
                assert_eq!(machine.runs(ran_ms), Some(0.5), "after {asleep_ms} ms");
            }
        }
    }

    #[test]
    fn a_counter_that_begins_anew_keeps_the_rate() {
        let mut machine = Machine::new();
        machine.runs(1000);
        machine.now.ticks = 3;
        assert_eq!([1, 1000].map(|ms| machine.runs(ms)), [Some(0.5); 2]);
    }

    #[test]
    fn a_first_rate_is_not_measured_over_a_suspension() {
        let mut machine = Machine::new();
        machine.is_suspended(100_000);
        assert_eq!([2_000, 1].map(|ms| machine.runs(ms)), [None, Some(0.5)]);
        // A suspension in the first second is detected by later measurements only.
        let mut machine = Machine::new();
        machine.is_suspended(100);
        assert_ne!(machine.runs(100), Some(0.5));
        machine.runs(1000);
        assert_eq!(machine.runs(1), Some(0.5));
    }

    #[test]
    fn the_rate_follows_the_slewing_and_gets_over_a_bad_reading() {
        let mut machine = Machine::new();
        machine.now.ns += 50_000;
        let first = machine.runs(1).unwrap();
        assert!((first - 0.525).abs() < 1e-6, "{first}");
        let later = machine.runs(1_000).unwrap();
        assert!((later / 0.5 - 1.0).abs() < 60e-6, "{later}");
        for _ in 0..1_000 {
            machine.now.ns += 400_000;
            machine.runs(1_000);
        }
        let slewed = machine.runs(1).unwrap();
        assert!((slewed / 0.5 - 1.0004).abs() < 5e-6, "{slewed}");
    }
}
