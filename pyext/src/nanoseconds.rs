//! Seconds to nanoseconds, exactly. No Python here, so that it can be tested without one.

/// The longest wait, in nanoseconds: what fits in 63 bits, 292 years. The C ABI draws the same line.
pub const MAX: u64 = i64::MAX as u64;

/// Why a number of seconds is no length of a wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unfit {
    /// Below zero, minus infinity included.
    Negative,
    /// NaN or plus infinity.
    NotFinite,
    /// Over [`MAX`] nanoseconds.
    TooLong,
}

/// `seconds` in nanoseconds, rounded up: never less than the exact value of the float.
#[inline]
pub fn from_seconds(seconds: f64) -> Result<u64, Unfit> {
    if seconds == 0.0 {
        return Ok(0);
    }
    if seconds < 0.0 {
        return Err(Unfit::Negative);
    }
    if !seconds.is_finite() {
        return Err(Unfit::NotFinite);
    }
    // So that what is computed below can't overflow: 10^19 is less than 2^64.
    if seconds >= 1e10 {
        return Err(Unfit::TooLong);
    }
    let fraction = seconds.fract();
    let below = (fraction * 1e9).floor();
    // The fused product is exact, where the one above may have been rounded to a whole number.
    let part = u64::from(fraction.mul_add(1e9, -below) > 0.0);
    let nanos = seconds.trunc() as u64 * 1_000_000_000 + below as u64 + part;
    if nanos > MAX { Err(Unfit::TooLong) } else { Ok(nanos) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use num_bigint::BigInt;
    use num_rational::BigRational;
    use proptest::prelude::*;

    /// What must come of `seconds`, by the arithmetic of fractions.
    fn expected(seconds: f64) -> Result<u64, Unfit> {
        if seconds < 0.0 {
            return Err(Unfit::Negative);
        }
        let exact = BigRational::from_float(seconds).ok_or(Unfit::NotFinite)?;
        let nanos = (exact * BigInt::from(1_000_000_000)).ceil().to_integer();
        u64::try_from(nanos).ok().filter(|nanos| *nanos <= MAX).ok_or(Unfit::TooLong)
    }

    /// Floats of every kind, and many around whole nanoseconds and around the longest wait.
    fn seconds() -> impl Strategy<Value = f64> {
        let whole = prop_oneof![0..=1_000_000u64, 0..=MAX, (MAX - 10_000)..=MAX];
        let near_whole = (whole, -2..=2).prop_map(|(nanos, steps): (u64, i32)| {
            let step = if steps < 0 { f64::next_down } else { f64::next_up };
            (0..steps.abs()).fold(nanos as f64 / 1e9, |seconds, _| step(seconds))
        });
        prop_oneof![any::<u64>().prop_map(f64::from_bits), near_whole, 0.0..1e10]
    }

    proptest! {
        #![proptest_config(thorough())]

        #[test]
        fn any_float_gives_what_exact_arithmetic_gives(seconds in seconds()) {
            prop_assert_eq!(from_seconds(seconds), expected(seconds), "{:e}, {:#x}", seconds, seconds.to_bits());
        }

        #[test]
        fn more_seconds_are_never_fewer_nanoseconds(one in seconds(), other in seconds()) {
            if let (Ok(nanos), Ok(others)) = (from_seconds(one), from_seconds(other)) {
                let in_order = if one <= other { nanos <= others } else { nanos >= others };
                prop_assert!(in_order, "{:e} {:e}", one, other);
            }
        }
    }

    /// A float takes microseconds only: ten times the usual number of cases (PROPTEST_CASES, 256).
    fn thorough() -> ProptestConfig {
        let config = ProptestConfig::default();
        ProptestConfig { cases: config.cases.saturating_mul(10), failure_persistence: None, ..config }
    }

    #[test]
    fn rounds_up_and_never_down() {
        for seconds in [1e-9, 0.1, 0.25, 0.3, 1.0 / 3.0, 1.0, 1.000000001, 2.5, 86400.1, 1e9 + 0.1, 9223372036.0] {
            assert_eq!(from_seconds(seconds), expected(seconds), "{seconds}");
        }
        // The float nearest to 0.001 lies above it.
        assert_eq!(from_seconds(0.001), Ok(1_000_001));
    }

    #[test]
    fn a_product_rounded_down_to_a_whole_number_is_found_out() {
        // Floats a little over whole nanoseconds, whose product with 1e9 has no room for the little.
        let mut caught = 0;
        for whole in 1..100_000u64 {
            let seconds = (whole as f64 / 1e9).next_up();
            caught += u64::from(Ok((seconds * 1e9).ceil() as u64) != expected(seconds));
            assert_eq!(from_seconds(seconds), expected(seconds), "{seconds:e}");
        }
        assert!(caught > 0, "no such float among those tried");
    }

    #[test]
    fn anything_above_zero_is_at_least_a_nanosecond() {
        for seconds in [f64::from_bits(1), f64::MIN_POSITIVE, 1e-20, 1e-9] {
            assert!(from_seconds(seconds).unwrap() >= 1, "{seconds:e}");
        }
        assert_eq!(from_seconds(f64::from_bits(1)), Ok(1));
    }

    #[test]
    fn zero_has_no_sign() {
        assert_eq!(from_seconds(0.0), Ok(0));
        assert_eq!(from_seconds(-0.0), Ok(0));
    }

    #[test]
    fn what_is_no_length_is_refused_with_the_reason() {
        for seconds in [-1.0, -1e-300, f64::NEG_INFINITY] {
            assert_eq!(from_seconds(seconds), Err(Unfit::Negative));
        }
        for seconds in [f64::NAN, -f64::NAN, f64::INFINITY] {
            assert_eq!(from_seconds(seconds), Err(Unfit::NotFinite));
        }
        // The floats next to 2^63 - 1 nanoseconds on either side.
        let over = 9223372036.854776;
        // Those next to 2^64 nanoseconds, where the product would begin anew at zero.
        let wraps = 18446744073.709553;
        for seconds in [over, 1e10_f64.next_down(), 1e10, wraps, wraps + 0.1, 2e10, 1e300, f64::MAX] {
            assert_eq!(from_seconds(seconds), Err(Unfit::TooLong));
        }
        assert!(from_seconds(over.next_down()).is_ok());
    }
}
