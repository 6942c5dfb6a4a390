//! The unit of the user and system times in /proc.

use std::time::Duration;

/// Converts a number of ticks of USER_HZ (10 ms each on every current Linux) to time.
pub(super) fn to_duration(ticks: u64) -> Duration {
    Duration::from_nanos(ticks.saturating_mul(1_000_000_000 / rustix::param::clock_ticks_per_second()))
}
