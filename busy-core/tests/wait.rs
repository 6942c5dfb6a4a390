//! Both waits, with random lengths, cancelled at random polls (proptest; PROPTEST_CASES sets the number of cases, by
//! default 256).

use busy_core::{Waited, busy_wait_tsc, busy_wait_while};
use proptest::prelude::*;
use std::time::{Duration, Instant};

/// The clock that a wait polls.
#[derive(Debug, Clone, Copy)]
enum Clock {
    Monotonic,
    Tsc,
}

impl Clock {
    /// Waits and returns the result, or `None` if this machine has no such clock.
    fn wait(self, length: Duration, mut go_on: impl FnMut() -> bool) -> Option<Waited> {
        match self {
            Self::Monotonic => Some(busy_wait_while(length, |_| go_on())),
            Self::Tsc => busy_wait_tsc(length, go_on).ok(),
        }
    }
}

fn clocks() -> impl Strategy<Value = Clock> {
    prop_oneof![Just(Clock::Monotonic), Just(Clock::Tsc)]
}

/// Returns lengths from 0 to 200 µs, many of them shorter than a few polls.
fn short() -> impl Strategy<Value = Duration> {
    prop_oneof![0..500u64, 0..=200_000u64].prop_map(Duration::from_nanos)
}

/// Returns lengths up to centuries.
fn any_length() -> impl Strategy<Value = Duration> {
    prop_oneof![short(), any::<Duration>(), Just(Duration::MAX), Just(Duration::from_nanos(u64::MAX))]
}

proptest! {
    // A failure prints its input. It is not stored in a file, since these tests also depend on time.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_wait_ends_early_and_every_poll_counts(clock in clocks(), length in short()) {
        let mut polls = 0;
        let before = Instant::now();
        let waited = clock.wait(length, || { polls += 1; true });
        let took = before.elapsed();
        if let Some(Waited { count, elapsed, completed }) = waited {
            prop_assert!(completed && length <= elapsed && elapsed <= took, "{:?} of {:?}", elapsed, took);
            prop_assert_eq!(count, polls);
        }
    }

    /// Checks that the wait ends at the only poll at which `go_on` returns false, whichever poll this is.
    #[test]
    fn a_wait_ends_at_the_poll_that_returns_false(clock in clocks(), length in any_length(), end in 0..2000u64) {
        let mut polls = 0;
        let before = Instant::now();
        let waited = clock.wait(length, || {
            polls += 1;
            // If the wait continues nevertheless, the second condition ends the test.
            polls != end + 1 && polls < 1_000_000
        });
        let took = before.elapsed();
        if let Some(Waited { count, elapsed, completed }) = waited {
            prop_assert!(elapsed <= took);
            prop_assert_eq!(completed, elapsed >= length, "{:?}", elapsed);
            prop_assert!(polls <= end + 1, "{} polls", polls);
            prop_assert!(completed || polls == end + 1, "{} polls", polls);
            prop_assert_eq!(count, polls.min(end));
        }
    }
}
