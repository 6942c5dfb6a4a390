//! Both waits, of lengths and cancelled at polls drawn at random (proptest; PROPTEST_CASES says how many, 256).

use busy_core::{Waited, busy_wait_tsc, busy_wait_while};
use proptest::prelude::*;
use std::time::{Duration, Instant};

/// A wait, and the clock that it polls.
#[derive(Debug, Clone, Copy)]
enum Clock {
    Monotonic,
    Tsc,
}

impl Clock {
    /// None where there is no such clock.
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

/// From nothing to 200 µs, and often less than a few polls.
fn short() -> impl Strategy<Value = Duration> {
    prop_oneof![0..500u64, 0..=200_000u64].prop_map(Duration::from_nanos)
}

/// What nobody would wait for is among them.
fn any_length() -> impl Strategy<Value = Duration> {
    prop_oneof![short(), any::<Duration>(), Just(Duration::MAX), Just(Duration::from_nanos(u64::MAX))]
}

proptest! {
    // A failure prints its input; kept in a file it would tell no more, since these hinge on time too.
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

    /// `go_on` says no but once: whichever poll that is, it counts.
    #[test]
    fn a_wait_ends_at_the_poll_that_says_so(clock in clocks(), length in any_length(), end in 0..2000u64) {
        let mut polls = 0;
        let before = Instant::now();
        let waited = clock.wait(length, || {
            polls += 1;
            // Should it go on all the same, this ends the test.
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
