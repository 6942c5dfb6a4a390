//! Percentages, rates and durations, as people read and write them.

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

/// The units of a time, in seconds, as in pyext/python/busy/_bounds.py. Both characters that look like µ are accepted.
const TIME_UNITS: [(&str, f64); 9] = [
    ("", 1.0),
    ("ns", 1e-9),
    ("us", 1e-6),
    ("\u{b5}s", 1e-6),
    ("\u{3bc}s", 1e-6),
    ("ms", 1e-3),
    ("s", 1.0),
    ("min", 60.0),
    ("h", 3600.0),
];

/// Reads a time: a decimal number and a unit, such as "20ms", "1.5 s", "2min"; without a unit, the number means seconds. Returns
/// None for anything else, and for what a [`Duration`] can't hold.
pub fn parse_time(text: &str) -> Option<Duration> {
    let end = text.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    // Without this, f64 would also read "1." and ".5".
    let is_decimal = !number.starts_with('.') && !number.ends_with('.');
    let unit = if number.is_empty() { None } else { Some(unit.strip_prefix(' ').unwrap_or(unit)) }?;
    let (name, seconds) = TIME_UNITS.iter().find(|(name, _)| *name == unit)?;
    let has_lost_unit = name.is_empty() && end < text.len();
    let number: f64 = number.parse().ok().filter(|_| is_decimal && !has_lost_unit)?;
    Duration::try_from_secs_f64(number * seconds).ok()
}

/// Returns "once", "2 times", "0 times".
pub fn times(number: f64) -> String {
    if number == 1.0 { "once".into() } else { format!("{number} times") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_number_with_a_unit_or_of_seconds() {
        for (text, seconds) in [
            ("3", 3.0),
            ("0.5", 0.5),
            ("3s", 3.0),
            ("3 s", 3.0),
            ("20ms", 0.02),
            ("1.5ms", 0.0015),
            ("250us", 250e-6),
            ("250\u{b5}s", 250e-6),
            ("250 \u{3bc}s", 250e-6),
            ("40ns", 40e-9),
            ("2min", 120.0),
            ("1.5h", 5400.0),
            ("0", 0.0),
            ("0s", 0.0),
            ("007s", 7.0),
        ] {
            assert_eq!(parse_time(text), Some(Duration::from_secs_f64(seconds)), "{text:?}");
        }
        for text in [
            "",
            " ",
            "s",
            "-1s",
            "+1s",
            ".5s",
            "1.s",
            "1.",
            "1..5s",
            "1.2.3",
            "1e3s",
            "1 ",
            "1  s",
            " 1s",
            "1s ",
            "1 parsec",
            "1S",
            "1m",
            "1s 2ms",
            "nan",
            "inf",
            "\u{664}s",
            "99999999999999999999s",
            "1%",
        ] {
            assert_eq!(parse_time(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_number_of_times_is_named_as_people_do() {
        assert_eq!([0.0, 1.0, 2.0].map(times), ["0 times", "once", "2 times"]);
    }

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
