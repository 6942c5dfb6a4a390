//! The exact conversion of seconds to nanoseconds. It does not use Python, so that its tests need no interpreter.

use busy_core::MAX_WAIT_NS;

/// The reason why a number of seconds is not the duration of a wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Invalid {
    /// It is below zero, or minus infinity.
    Negative,
    /// It is NaN or plus infinity.
    NotFinite,
    /// It is above [`MAX_WAIT_NS`].
    TooLong,
}

/// Returns `seconds` in nanoseconds, rounded up, so that the result is never less than the exact value of the float.
#[inline]
pub fn from_seconds(seconds: f64) -> Result<u64, Invalid> {
    if seconds == 0.0 {
        return Ok(0);
    }
    if seconds < 0.0 {
        return Err(Invalid::Negative);
    }
    if !seconds.is_finite() {
        return Err(Invalid::NotFinite);
    }
    // Prevents an overflow below: 10^19 is less than 2^64.
    if seconds >= 1e10 {
        return Err(Invalid::TooLong);
    }
    let fraction = seconds.fract();
    let below = (fraction * 1e9).floor();
    // The product above may have been rounded to a whole number; the fused one is exact.
    let part = u64::from(fraction.mul_add(1e9, -below) > 0.0);
    let nanos = seconds.trunc() as u64 * 1_000_000_000 + below as u64 + part;
    if nanos > MAX_WAIT_NS { Err(Invalid::TooLong) } else { Ok(nanos) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use num_bigint::BigInt;
    use num_rational::BigRational;
    use proptest::prelude::*;

    /// Returns the correct result for `seconds`, computed with exact fractions.
    fn expected(seconds: f64) -> Result<u64, Invalid> {
        if seconds < 0.0 {
            return Err(Invalid::Negative);
        }
        let exact = BigRational::from_float(seconds).ok_or(Invalid::NotFinite)?;
        let nanos = (exact * BigInt::from(1_000_000_000)).ceil().to_integer();
        u64::try_from(nanos).ok().filter(|nanos| *nanos <= MAX_WAIT_NS).ok_or(Invalid::TooLong)
    }

    /// Returns floats of every kind, including many near whole nanoseconds and near the longest wait.
    fn seconds() -> impl Strategy<Value = f64> {
        let whole = prop_oneof![0..=1_000_000u64, 0..=MAX_WAIT_NS, (MAX_WAIT_NS - 10_000)..=MAX_WAIT_NS];
        let near_whole = (whole, -2..=2).prop_map(|(nanos, steps): (u64, i32)| {
            let step = if steps < 0 { f64::next_down } else { f64::next_up };
            (0..steps.abs()).fold(nanos as f64 / 1e9, |seconds, _| step(seconds))
        });
        prop_oneof![any::<u64>().prop_map(f64::from_bits), near_whole, 0.0..1e10]
    }

    proptest! {
        #![proptest_config(thorough())]

        #[test]
        fn any_float_converts_as_in_exact_arithmetic(seconds in seconds()) {
            prop_assert_eq!(from_seconds(seconds), expected(seconds), "{:e}, {:#x}", seconds, seconds.to_bits());
        }

        #[test]
        fn the_conversion_is_monotonic(one in seconds(), other in seconds()) {
            if let (Ok(nanos), Ok(others)) = (from_seconds(one), from_seconds(other)) {
                let in_order = if one <= other { nanos <= others } else { nanos >= others };
                prop_assert!(in_order, "{:e} {:e}", one, other);
            }
        }
    }

    /// Returns a configuration with ten times the usual number of cases (PROPTEST_CASES, by default 256), since one
    /// case takes only microseconds.
    fn thorough() -> ProptestConfig {
        let config = ProptestConfig::default();
        ProptestConfig { cases: config.cases.saturating_mul(10), failure_persistence: None, ..config }
    }

    #[test]
    fn rounds_up() {
        for seconds in [1e-9, 0.1, 0.25, 0.3, 1.0 / 3.0, 1.0, 1.000000001, 2.5, 86400.1, 1e9 + 0.1, 9223372036.0] {
            assert_eq!(from_seconds(seconds), expected(seconds), "{seconds}");
        }
        // The float nearest to 0.001 lies above it.
        assert_eq!(from_seconds(0.001), Ok(1_000_001));
    }

    #[test]
    fn a_product_that_was_rounded_down_to_a_whole_number_is_corrected() {
        // Floats just above whole nanoseconds: their product with 1e9 may be rounded to the whole number.
        let mut caught = 0;
        for whole in 1..100_000u64 {
            let seconds = (whole as f64 / 1e9).next_up();
            caught += u64::from(Ok((seconds * 1e9).ceil() as u64) != expected(seconds));
            assert_eq!(from_seconds(seconds), expected(seconds), "{seconds:e}");
        }
        assert!(caught > 0, "none of the floats was rounded down");
    }

    #[test]
    fn every_positive_float_is_at_least_one_nanosecond() {
        for seconds in [f64::from_bits(1), f64::MIN_POSITIVE, 1e-20, 1e-9] {
            assert!(from_seconds(seconds).unwrap() >= 1, "{seconds:e}");
        }
        assert_eq!(from_seconds(f64::from_bits(1)), Ok(1));
    }

    #[test]
    fn minus_zero_is_zero() {
        assert_eq!(from_seconds(0.0), Ok(0));
        assert_eq!(from_seconds(-0.0), Ok(0));
    }

    #[test]
    fn floats_that_are_not_durations_are_refused_with_the_reason() {
        for seconds in [-1.0, -1e-300, f64::NEG_INFINITY] {
            assert_eq!(from_seconds(seconds), Err(Invalid::Negative));
        }
        for seconds in [f64::NAN, -f64::NAN, f64::INFINITY] {
            assert_eq!(from_seconds(seconds), Err(Invalid::NotFinite));
        }
        // The floats next to 2^63 - 1 nanoseconds on either side.
        let over = 9223372036.854776;
        // The floats next to 2^64 nanoseconds, where the product would wrap around to zero.
        let wraps = 18446744073.709553;
        for seconds in [over, 1e10_f64.next_down(), 1e10, wraps, wraps + 0.1, 2e10, 1e300, f64::MAX] {
            assert_eq!(from_seconds(seconds), Err(Invalid::TooLong));
        }
        assert!(from_seconds(over.next_down()).is_ok());
    }
}
