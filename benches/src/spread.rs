//! Order statistics of a row's rounds.

use serde::{Deserialize, Serialize};

/// Where a row's rounds lie.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// Half of the rounds lie on either side.
    pub median: f64,
    /// A quarter lies below.
    pub lower_quartile: f64,
    /// A quarter lies above.
    pub upper_quartile: f64,
    /// The least.
    pub min: f64,
    /// The most.
    pub max: f64,
}

impl Spread {
    /// Of at least one value, all finite; else there is none.
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

    /// True if it lies among the rounds.
    pub fn holds(&self, value: f64) -> bool {
        (self.min..=self.max).contains(&value)
    }
}

/// The value below which `share` (0 to 1) of `sorted` lies, on the line between its two neighbours.
pub fn quantile(sorted: &[f64], share: f64) -> f64 {
    let place = share * (sorted.len() - 1) as f64;
    let (below, above) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
    below + (above - below) * place.fract()
}

/// The standard deviation of a sample of at least two.
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
    fn between_two_values_lies_the_line() {
        assert_eq!(quantile(&[1.0, 2.0], 0.5), 1.5);
        assert_eq!(quantile(&[0.0, 10.0, 20.0], 0.99), 19.8);
        assert_eq!((quantile(&[7.0], 0.0), quantile(&[7.0], 1.0)), (7.0, 7.0));
    }

    #[test]
    fn nothing_and_what_is_no_number_have_no_spread() {
        assert_eq!(Spread::of(&[]), None);
        assert_eq!(Spread::of(&[1.0, f64::NAN]), None);
        assert_eq!(Spread::of(&[1.0, f64::INFINITY]), None);
    }

    #[test]
    fn the_bounds_belong_to_the_spread() {
        let spread = Spread::of(&[1.0, 2.0]).unwrap();
        assert!(spread.holds(1.0) && spread.holds(2.0) && spread.holds(1.5));
        assert!(!spread.holds(0.99) && !spread.holds(2.01));
    }

    #[test]
    fn the_standard_deviation_is_that_of_a_sample() {
        assert_eq!(standard_deviation(&[2.0, 4.0]), 2f64.sqrt());
        assert_eq!(standard_deviation(&[3.0, 3.0, 3.0]), 0.0);
    }
}
