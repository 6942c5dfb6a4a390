//! The clock of the hooks: the time stamp counter where it is one, CLOCK_MONOTONIC elsewhere; in ticks, and as time.

use busy_core::clock::monotonic_ns;
use busy_core::tsc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

/// The rate is known to some 60 ppm after this long.
const SHORTEST_BASE_NS: u64 = 500_000;

static USES_TSC: AtomicBool = AtomicBool::new(false);
static BASE: OnceLock<Reading> = OnceLock::new();

/// Both clocks at one moment.
#[derive(Clone, Copy)]
struct Reading {
    ticks: u64,
    ns: u64,
}

/// True if the meter reads the time stamp counter.
pub fn clock_is_tsc() -> bool {
    tsc::is_invariant()
}

/// Now.
#[inline]
pub(super) fn ticks() -> u64 {
    if USES_TSC.load(Ordering::Relaxed) { tsc::read() } else { monotonic_ns() }
}

/// Fixes the moment from which ticks are counted as time, once in a process, and lets it become old enough.
pub(super) fn settle() {
    USES_TSC.store(tsc::is_invariant(), Ordering::Relaxed);
    let base = BASE.get_or_init(reading);
    while tsc::is_invariant() && monotonic_ns() < base.ns + SHORTEST_BASE_NS {
        std::hint::spin_loop();
    }
}

/// The clock's rate from the first start to now. Two of them differ by less than CLOCK_MONOTONIC's own slewing between them.
pub(super) struct Scale {
    base: Reading,
    ns_per_tick: f64,
}

impl Scale {
    pub(super) fn now() -> Self {
        let base = *BASE.get_or_init(reading);
        if !USES_TSC.load(Ordering::Relaxed) {
            return Self { base, ns_per_tick: 1.0 };
        }
        let now = reading();
        let ns_per_tick = (now.ns - base.ns) as f64 / now.ticks.saturating_sub(base.ticks).max(1) as f64;
        Self { base, ns_per_tick }
    }

    /// So many ticks in nanoseconds.
    pub(super) fn ns(&self, ticks: u64) -> u64 {
        (ticks as f64 * self.ns_per_tick) as u64
    }

    /// The time of CLOCK_MONOTONIC at `ticks`.
    pub(super) fn time(&self, ticks: u64) -> u64 {
        self.base.ns + self.ns(ticks.saturating_sub(self.base.ticks))
    }
}

/// The tightest of some looks at both clocks: one that was interrupted would be wrong by as much.
fn reading() -> Reading {
    let look = |_| {
        let before = tsc::read();
        let ns = monotonic_ns();
        let after = tsc::read();
        (after.wrapping_sub(before), Reading { ticks: before + (after.wrapping_sub(before)) / 2, ns })
    };
    let (_, reading) = (0..5).map(look).min_by_key(|(took, _)| *took).expect("five looks");
    reading
}
