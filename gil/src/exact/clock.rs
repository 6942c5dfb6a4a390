//! The clock of the hooks, in ticks and in nanoseconds: the time stamp counter if it is invariant and the kernel has not
//! found it unstable, otherwise CLOCK_MONOTONIC.

use busy_core::clock::monotonic_ns;
pub(crate) use busy_core::rate::{Rate, Reading};
use busy_core::tsc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

static USES_TSC: AtomicBool = AtomicBool::new(false);
static BASE: OnceLock<Reading> = OnceLock::new();
static RATE: Rate = Rate::new();

/// Returns true if the meter reads the time stamp counter.
pub fn clock_is_tsc() -> bool {
    static IS_TSC: OnceLock<bool> = OnceLock::new();
    *IS_TSC.get_or_init(|| {
        let source = std::fs::read_to_string("/sys/devices/system/clocksource/clocksource0/current_clocksource");
        tsc::is_invariant() && is_of_stable_tsc(source.ok().as_deref())
    })
}

/// Returns true unless the kernel's clock source, as far as it is known, is one that it uses only without a stable time
/// stamp counter (kernel/time/clocksource.c; arch/x86/kernel/hpet.c; drivers/clocksource/acpi_pm.c).
fn is_of_stable_tsc(source: Option<&str>) -> bool {
    source.is_none_or(|name| !["hpet", "acpi_pm", "refined-jiffies", "jiffies"].contains(&name.trim()))
}

/// Returns the current time in ticks.
#[inline]
pub(crate) fn ticks() -> u64 {
    if USES_TSC.load(Ordering::Relaxed) { tsc::read() } else { monotonic_ns() }
}

/// Returns a reading early in this process. The first call takes it.
pub(crate) fn base() -> Reading {
    *BASE.get_or_init(reading)
}

/// Measures the clock's rate for the first time, once per process, and waits until that is possible.
pub(super) fn settle() {
    while clock_is_tsc() && RATE.ns_per_tick(reading()).is_none() {
        std::hint::spin_loop();
    }
    USES_TSC.store(clock_is_tsc(), Ordering::Relaxed);
}

/// The clock's rate, averaged from the first start to now, without the time in which the machine was suspended. Two scales
/// differ by less than the slewing of CLOCK_MONOTONIC between them.
pub(super) struct Scale {
    now: Reading,
    ns_per_tick: f64,
}

impl Scale {
    /// Returns the rate up to now.
    pub(super) fn now() -> Self {
        if !USES_TSC.load(Ordering::Relaxed) {
            let ns = monotonic_ns();
            return Self { now: Reading { ticks: ns, ns }, ns_per_tick: 1.0 };
        }
        let now = reading();
        let ns_per_tick = RATE.ns_per_tick(now).expect("measured by settle()");
        Self { now, ns_per_tick }
    }

    /// Returns a scale whose ticks are nanoseconds of CLOCK_MONOTONIC.
    #[cfg(test)]
    pub(super) fn of_nanoseconds() -> Self {
        Self { now: Reading { ticks: 0, ns: 0 }, ns_per_tick: 1.0 }
    }

    /// Converts a number of ticks to nanoseconds.
    pub(super) fn ns(&self, ticks: u64) -> u64 {
        (ticks as f64 * self.ns_per_tick) as u64
    }

    /// Converts a number of nanoseconds to ticks.
    pub(super) fn ticks(&self, ns: u64) -> u64 {
        (ns as f64 / self.ns_per_tick) as u64
    }

    /// Returns the microseconds per tick.
    pub(super) fn us_per_tick(&self) -> f64 {
        self.ns_per_tick / 1000.0
    }

    /// Returns the time of CLOCK_MONOTONIC at `ticks`, unless the machine was suspended since then.
    pub(super) fn time(&self, ticks: u64) -> u64 {
        let before = self.ns(self.now.ticks.saturating_sub(ticks));
        self.now.ns.saturating_sub(before) + self.ns(ticks.saturating_sub(self.now.ticks))
    }
}

/// Reads both clocks five times and returns the fastest reading. The error of an interrupted reading is the duration of
/// the interruption.
pub(crate) fn reading() -> Reading {
    let read = |_| {
        let before = tsc::read();
        let ns = monotonic_ns();
        let after = tsc::read();
        (after.wrapping_sub(before), Reading { ticks: before + (after.wrapping_sub(before)) / 2, ns })
    };
    let (_, reading) = (0..5).map(read).min_by_key(|(took, _)| *took).expect("five readings");
    reading
}

#[cfg(test)]
mod tests {
    use super::is_of_stable_tsc;

    #[test]
    fn a_time_stamp_counter_that_the_kernel_avoids_is_not_used() {
        assert!([None, Some("tsc\n"), Some("kvm-clock\n"), Some("xen")].into_iter().all(is_of_stable_tsc));
        assert!(!["hpet\n", "acpi_pm\n", "jiffies\n"].into_iter().any(|name| is_of_stable_tsc(Some(name))));
    }
}
