//! The clock that every wait and every time stamp of this project is read from.

use rustix::time::{ClockId, clock_gettime};

/// Nanoseconds of CLOCK_MONOTONIC: since boot, never set back, not counted while suspended. Read through the
/// vDSO in about 21 ns. It is the clock of Python's `time.monotonic()`, so stamps compare across processes.
#[inline]
pub fn monotonic_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    // Never negative: clock_gettime(2) counts from boot.
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}
