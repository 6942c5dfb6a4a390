//! Loads of any size: each runs or is refused, and never uses more than its share (proptest; PROPTEST_CASES sets the
//! number of cases, by default 256).

use busy_core::load::{Load, LoadError, MOST_THREADS};
use proptest::prelude::*;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Returns invalid numbers, and small valid ones: larger ones would only take longer.
fn threads() -> impl Strategy<Value = usize> {
    prop_oneof![1 => Just(0), 8 => 1..=3usize, 1 => MOST_THREADS + 1..=usize::MAX, 1 => Just(MOST_THREADS + 1)]
}

fn shares() -> impl Strategy<Value = f64> {
    let edges = prop_oneof![Just(0.0), Just(-0.0), Just(1.0), Just(1f64.next_up()), Just(f64::NAN)];
    prop_oneof![0.0..=1.0, edges, any::<u64>().prop_map(f64::from_bits)]
}

fn periods() -> impl Strategy<Value = Duration> {
    let nanos = (0..35u32, any::<u64>()).prop_map(|(bits, number)| Duration::from_nanos(number >> (63 - bits)));
    prop_oneof![8 => nanos, 1 => any::<Duration>(), 1 => Just(Duration::ZERO), 1 => Just(Duration::MAX)]
}

fn durations() -> impl Strategy<Value = Duration> {
    let short = (0..1_000_000u64).prop_map(Duration::from_nanos);
    prop_oneof![2 => short, 1 => any::<Duration>(), 1 => Just(Duration::MAX)]
}

fn is_share(share: f64) -> bool {
    (0.0..=1.0).contains(&share)
}

/// The minimum duration of a round (`Load::period`).
const SHORTEST: Duration = Duration::from_micros(100);

proptest! {
    #![proptest_config(cases(1))]

    #[test]
    fn any_load_runs_or_is_refused_with_the_reason(
        threads in threads(), share in shares(), period in periods(), duration in durations(), calls in 0..4u64,
    ) {
        let called = AtomicU64::new(0);
        let load = Load { threads, share, period, duration };
        let achieved = match load.run(|| called.fetch_add(1, Ordering::Relaxed) < calls) {
            Ok(achieved) => achieved,
            Err(LoadError::Threads(refused)) => {
                prop_assert!(refused == threads && (threads == 0 || threads > 4096));
                return Ok(());
            }
            Err(LoadError::Share(refused)) => {
                prop_assert!(refused.to_bits() == share.to_bits() && !is_share(share));
                return Ok(());
            }
            Err(LoadError::NoPeriod) => {
                prop_assert!(period.is_zero());
                return Ok(());
            }
            Err(error @ LoadError::Spawn(_)) => return Err(TestCaseError::fail(error.to_string())),
        };
        prop_assert!((1..=4096).contains(&threads) && is_share(share) && !period.is_zero());
        prop_assert_eq!(achieved.threads.len(), threads);
        prop_assert!(achieved.share().is_finite() && achieved.share() >= 0.0);
        let longest = achieved.threads.iter().map(|thread| thread.elapsed).max();
        prop_assert!(longest <= Some(achieved.elapsed), "{:?}", achieved);
        let all_through = achieved.threads.iter().all(|thread| thread.elapsed >= duration);
        prop_assert_eq!(achieved.completed, all_through, "{:?}", achieved);
        prop_assert!(achieved.completed || called.into_inner() > calls, "ended although go_on returned true");
    }
}

proptest! {
    // These loads must last long enough; otherwise noise would hide the result.
    #![proptest_config(cases(16))]

    #[test]
    fn no_thread_uses_more_than_its_share(
        threads in 1..=2usize,
        // Exceeding a small share is detected even if other processes leave little CPU time.
        share in prop_oneof![0.0..=0.15, 0.0..=1.0],
        period in prop_oneof![1..20u32, 20..=25u32],
        millis in 80..=120u64,
    ) {
        // The period is 2 ns to 34 ms.
        let period = Duration::from_nanos(1 << period);
        let duration = Duration::from_millis(millis);
        let rounds = duration.div_duration_f64(period.max(SHORTEST)).ceil();
        // Each round calls go_on a few times, and every 10 ms. A load that counted rounds without end would call it
        // more often, and is ended here.
        let most_calls = threads as u64 * (20.0 * rounds + 200.0) as u64;
        // Sleeping and waking alone take about 15 µs per round. Interrupts may be counted as time of the thread.
        let most = duration.mul_f64(share) + Duration::from_micros(40).mul_f64(rounds) + Duration::from_millis(12);
        let load = Load { threads, share, period, duration };
        let run = || {
            let called = AtomicU64::new(0);
            let achieved = load.run(|| called.fetch_add(1, Ordering::Relaxed) < most_calls).unwrap();
            prop_assert!(achieved.completed, "{} calls in {} rounds", most_calls, rounds);
            let excess = achieved.threads.into_iter().find(|thread| thread.cpu > most);
            Ok(excess)
        };
        // On a virtual machine, a thread once had 20 ms more than it can have used. Three times in a row is no accident.
        let excesses = (0..3).map_while(|_| run().transpose()).collect::<Result<Vec<_>, _>>()?;
        prop_assert!(excesses.len() < 3, "{:?}, expected at most {:?}", excesses, most);
    }
}

/// Divides the number of cases by `divisor`. A failure prints its input. It is not stored in a file, since these tests
/// also depend on time.
fn cases(divisor: u32) -> ProptestConfig {
    let config = ProptestConfig::default();
    ProptestConfig { cases: config.cases.div_ceil(divisor), failure_persistence: None, ..config }
}
