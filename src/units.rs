//! Numbers as people read them: percentages, rates, durations.

use std::time::Duration;

/// Returns `part` in percent of `whole`.
pub fn percent_of(part: Duration, whole: Duration) -> f64 {
    100.0 * part.as_secs_f64() / whole.as_secs_f64()
}

/// Formats a number of counts per second: "8.93 M", "17.7 k", "3.50", "0.0004".
pub fn per_second(rate: f64) -> String {
    let (value, unit) = match rate {
        1e6.. => (rate / 1e6, " M"),
        1e3.. => (rate / 1e3, " k"),
        _ => (rate, ""),
    };
    let digits = match value {
        10.0.. => 1,
        0.1.. | 0.0 => 2,
        _ => 4,
    };
    format!("{value:.digits$}{unit}")
}

/// Formats a duration: "1.20 s", "35.1 ms", "7 us".
pub fn duration(seconds: f64) -> String {
    match seconds {
        1.0.. => format!("{seconds:.2} s"),
        0.01.. => format!("{:.1} ms", seconds * 1e3),
        0.0001.. => format!("{:.2} ms", seconds * 1e3),
        _ => format!("{:.0} us", seconds * 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_the_unit_that_suits_them() {
        let shown = [0.0, 7.4e-6, 0.000_42, 0.0351, 1.2].map(duration);
        assert_eq!(shown, ["0 us", "7 us", "0.42 ms", "35.1 ms", "1.20 s"]);
    }

    #[test]
    fn rates_have_three_digits_and_a_unit() {
        let shown = [0.0, 0.000_42, 3.5, 17_670.0, 8_930_000.0, 307_590_977.0].map(per_second);
        assert_eq!(shown, ["0.00", "0.0004", "3.50", "17.7 k", "8.93 M", "307.6 M"]);
    }
}
