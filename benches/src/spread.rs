//! Statistics of a row's rounds.

use serde::{Deserialize, Serialize};

/// The distribution of a row's rounds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// The median, or the sum or maximum for a row with that figure.
    pub median: f64,
    /// The first quartile.
    pub lower_quartile: f64,
    /// The third quartile.
    pub upper_quartile: f64,
    /// The minimum.
    pub min: f64,
    /// The maximum.
    pub max: f64,
}

impl Spread {
    /// Returns the spread of `values`, or `None` if there is no value or one is not finite.
    pub fn of(values: &[f64]) -> Option<Self> {
        if values.is_empty() || !values.iter().all(|value| value.is_finite()) {
            return None;
        }
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        Some(Self {
            median: quantile(&sorted, 0.5),
            lower_quartile: quantile(&sorted, 0.25),
            upper_quartile: quantile(&sorted, 0.75),
            min: sorted[0],
            max: sorted[sorted.len() - 1],
        })
    }

    /// Returns true if `value` lies between the minimum and the maximum, inclusive.
    pub fn contains(&self, value: f64) -> bool {
        (self.min..=self.max).contains(&value)
    }
}

/// Returns the quantile of `sorted` at `share` (0 to 1), interpolated linearly between its two neighbours.
pub fn quantile(sorted: &[f64], share: f64) -> f64 {
    let place = share * (sorted.len() - 1) as f64;
    let (below, above) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
    below + (above - below) * place.fract()
}

/// Returns the sample standard deviation of at least two values.
pub fn standard_deviation(values: &[f64]) -> f64 {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (count - 1.0)).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_spread_does_not_depend_on_the_order() {
        let spread = Spread { median: 3.0, lower_quartile: 2.0, upper_quartile: 4.0, min: 1.0, max: 5.0 };
        assert_eq!(Spread::of(&[5.0, 1.0, 4.0, 2.0, 3.0]), Some(spread));
        assert_eq!(Spread::of(&[1.0, 2.0, 3.0, 4.0, 5.0]), Some(spread));
    }

    #[test]
    fn quantiles_are_interpolated_linearly() {
        assert_eq!(quantile(&[1.0, 2.0], 0.5), 1.5);
        assert_eq!(quantile(&[0.0, 10.0, 20.0], 0.99), 19.8);
        assert_eq!((quantile(&[7.0], 0.0), quantile(&[7.0], 1.0)), (7.0, 7.0));
    }

    #[test]
    fn no_values_and_non_finite_values_have_no_spread() {
        assert_eq!(Spread::of(&[]), None);
        assert_eq!(Spread::of(&[1.0, f64::NAN]), None);
        assert_eq!(Spread::of(&[1.0, f64::INFINITY]), None);
    }

    #[test]
    fn a_spread_contains_its_bounds() {
        let spread = Spread::of(&[1.0, 2.0]).unwrap();
        assert!(spread.contains(1.0) && spread.contains(2.0) && spread.contains(1.5));
        assert!(!spread.contains(0.99) && !spread.contains(2.01));
    }

    #[test]
    fn the_standard_deviation_is_the_sample_standard_deviation() {
        assert_eq!(standard_deviation(&[2.0, 4.0]), 2f64.sqrt());
        assert_eq!(standard_deviation(&[3.0, 3.0, 3.0]), 0.0);
    }
}
