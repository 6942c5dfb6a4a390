//! Percentages, rates and durations, formatted for people.

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

/// Formats a duration with three significant digits: "1.5 s", "20 ms", "7 us", as pyext/python/busy/_units.py does.
pub fn duration(seconds: f64) -> String {
    // From 0.9995 of a unit on, a value is rounded to 1 of it.
    let (value, unit) = match seconds {
        0.9995.. | 0.0 => (seconds, "s"),
        0.9995e-3.. => (seconds * 1e3, "ms"),
        0.9995e-6.. => (seconds * 1e6, "us"),
        _ => (seconds * 1e9, "ns"),
    };
    let digits = match value {
        99.95.. => 0,
        9.995.. => 1,
        _ => 2,
    };
    let text = format!("{value:.digits$}");
    let short = if digits > 0 { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{short} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_has_the_unit_that_suits_it() {
        let shown = [0.0, 40e-9, 7.4e-6, 0.000_42, 0.0351, 0.999_6, 1.2, 100.0, 1234.5].map(duration);
        assert_eq!(shown, ["0 s", "40 ns", "7.4 us", "420 us", "35.1 ms", "1 s", "1.2 s", "100 s", "1234 s"]);
    }

    #[test]
    fn rates_have_three_digits_and_a_unit() {
        let shown = [0.0, 0.000_42, 3.5, 17_670.0, 8_930_000.0, 307_590_977.0].map(per_second);
        assert_eq!(shown, ["0.00", "0.0004", "3.50", "17.7 k", "8.93 M", "307.6 M"]);
    }
}
