//! The clock of the hooks, in ticks and in nanoseconds: the time stamp counter if it is invariant and the kernel has not
//! found it unstable, otherwise CLOCK_MONOTONIC.

use busy_core::clock::monotonic_ns;
use busy_core::tsc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

/// The shortest time over which the rate is measured. Its error is then about 60 ppm.
const SHORTEST_BASE_NS: u64 = 500_000;

static USES_TSC: AtomicBool = AtomicBool::new(false);
static BASE: OnceLock<Reading> = OnceLock::new();

/// The readings of both clocks at one moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reading {
    /// The time stamp counter.
    pub(crate) ticks: u64,
    /// CLOCK_MONOTONIC.
    pub(crate) ns: u64,
}

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

/// Returns the reading from which ticks are converted to time. The first call takes it.
pub(crate) fn base() -> Reading {
    *BASE.get_or_init(reading)
}

/// Takes the reading from which ticks are converted to time, once per process, and waits until it is at least
/// SHORTEST_BASE_NS old.
pub(super) fn settle() {
    USES_TSC.store(clock_is_tsc(), Ordering::Relaxed);
    let base = base();
    while clock_is_tsc() && monotonic_ns() < base.ns + SHORTEST_BASE_NS {
        std::hint::spin_loop();
    }
}

/// The clock's rate, averaged from the first start to now. Two scales differ by less than the slewing of
/// CLOCK_MONOTONIC between them.
pub(super) struct Scale {
    base: Reading,
    ns_per_tick: f64,
}

impl Scale {
    /// Returns the rate up to now.
    pub(super) fn now() -> Self {
        let base = base();
        if !USES_TSC.load(Ordering::Relaxed) {
            return Self { base: Reading { ticks: base.ns, ns: base.ns }, ns_per_tick: 1.0 };
        }
        let now = reading();
        let ns_per_tick = (now.ns - base.ns) as f64 / now.ticks.saturating_sub(base.ticks).max(1) as f64;
        Self { base, ns_per_tick }
    }

    /// Returns a scale whose ticks are nanoseconds of CLOCK_MONOTONIC.
    #[cfg(test)]
    pub(super) fn of_nanoseconds() -> Self {
        Self { base: Reading { ticks: 0, ns: 0 }, ns_per_tick: 1.0 }
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

    /// Returns the time of CLOCK_MONOTONIC at `ticks`.
    pub(super) fn time(&self, ticks: u64) -> u64 {
        self.base.ns + self.ns(ticks.saturating_sub(self.base.ticks))
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
