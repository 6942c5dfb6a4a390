//! A row: one comparison or measurement, with its target and its result.

use crate::spread::Spread;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One comparison or measurement.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Row {
    /// Always "bench".
    pub kind: String,
    /// The group with which the row is measured.
    pub group: String,
    /// The row's name within the group.
    pub row: String,
    /// Description of the measured quantity.
    pub what: String,
    /// Description of the case.
    pub case: String,
    /// Description of the peer.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub peer: Option<String>,
    /// The unit of `ours` and `theirs`.
    pub unit: Unit,
    /// The figure that is computed from the rounds.
    pub figure: Figure,
    /// The target of the figure, for information only.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub wanted: Option<Wanted>,
    /// busy's values, one per round.
    pub ours: Vec<f64>,
    /// The peer's values, one per round.
    pub theirs: Vec<f64>,
    /// The figure and its spread over the rounds.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub found: Option<Spread>,
    /// Whether the figure meets its target.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub met: Option<bool>,
    /// Number of rounds that other processes disturbed, in spite of the repetitions.
    pub disturbed: usize,
    /// The reason if there is no figure.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub missing: BTreeMap<String, String>,
}

/// The unit of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Nanoseconds.
    Ns,
    /// Microseconds.
    Us,
    /// Milliseconds.
    Ms,
    /// Events per second.
    PerSecond,
    /// Percentage points of a core.
    Points,
    /// Percent of a core.
    Percent,
    /// A number of events.
    Count,
}

/// The figure that is computed from the rounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Figure {
    /// The median over the rounds of `ours` / `theirs`.
    Ratio,
    /// The median of `ours`.
    Value,
    /// The maximum of `ours`.
    Largest,
    /// The sum of `ours`.
    Sum,
}

/// The target of a figure.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wanted {
    /// The figure should be this or less.
    AtMost(f64),
    /// The figure should be this or more.
    AtLeast(f64),
}

/// The report of one round: the values of each row (busy's, and the peer's if there is one), and the reasons for
/// missing rows.
#[derive(Debug, Default, Clone, Deserialize)]
pub struct Round {
    /// Values by row.
    pub figures: BTreeMap<String, Vec<f64>>,
    /// Reasons by row, or by a common prefix of several rows.
    #[serde(default)]
    pub missing: BTreeMap<String, String>,
}

impl Row {
    /// Returns a row for the ratio of busy's value to that of `peer`, in the case `case` of `what`.
    pub fn ratio(row: impl Into<String>, what: &str, peer: &str, case: impl Into<String>, unit: Unit) -> Self {
        Self {
            kind: "bench".into(),
            group: String::new(),
            row: row.into(),
            what: what.into(),
            case: case.into(),
            peer: Some(peer.into()),
            unit,
            figure: Figure::Ratio,
            wanted: None,
            ours: Vec::new(),
            theirs: Vec::new(),
            found: None,
            met: None,
            disturbed: 0,
            missing: BTreeMap::new(),
        }
    }

    /// Sets the figure.
    pub fn with_figure(self, figure: Figure) -> Self {
        Self { figure, ..self }
    }

    /// Removes the peer.
    pub fn without_peer(self) -> Self {
        Self { peer: None, ..self }
    }

    /// Sets the target of the figure.
    pub fn wanted(self, wanted: Wanted) -> Self {
        Self { wanted: Some(wanted), ..self }
    }

    /// Computes the row from its values in `rounds`, of which `disturbed` were disturbed.
    pub fn fill(&mut self, rounds: &[Round], disturbed: usize) {
        let values: Vec<_> = rounds.iter().filter_map(|round| round.figures.get(&self.row)).collect();
        self.ours = values.iter().filter_map(|values| values.first().copied()).collect();
        self.theirs = values.iter().filter_map(|values| values.get(1).copied()).collect();
        self.disturbed = disturbed;
        self.found = self.spread();
        let Some(found) = &self.found else {
            let reasons = rounds.iter().flat_map(|round| &round.missing);
            let reason = reasons.filter(|(row, _)| self.row.starts_with(*row)).map(|(_, why)| why.clone()).next();
            self.set_missing(&reason.unwrap_or_else(|| "no round reported a finite figure".into()));
            return;
        };
        self.met = self.wanted.map(|wanted| wanted.is_met(found.median));
    }

    /// Records the reason why there is no figure.
    pub fn set_missing(&mut self, reason: &str) {
        self.missing.insert("found".into(), reason.into());
    }

    /// Returns the figure with its spread. A sum or a maximum replaces the median.
    fn spread(&self) -> Option<Spread> {
        match self.figure {
            Figure::Ratio => {
                let pairs = self.ours.iter().zip(&self.theirs);
                Spread::of(&pairs.map(|(ours, theirs)| ours / theirs).collect::<Vec<_>>())
            }
            Figure::Value => Spread::of(&self.ours),
            Figure::Largest | Figure::Sum => {
                self.overall(&self.ours).and_then(|value| Some(Spread { median: value, ..Spread::of(&self.ours)? }))
            }
        }
    }

    /// Returns one value for all rounds of a side: the median, or the sum or maximum, as the figure requires.
    pub fn overall(&self, values: &[f64]) -> Option<f64> {
        let spread = Spread::of(values)?;
        Some(match self.figure {
            Figure::Ratio | Figure::Value => spread.median,
            Figure::Largest => spread.max,
            Figure::Sum => values.iter().sum(),
        })
    }
}

impl Round {
    /// Returns true if the round has values for `row`, or a reason why they are missing.
    pub fn covers(&self, row: &str) -> bool {
        self.figures.contains_key(row) || self.missing.keys().any(|prefix| row.starts_with(prefix))
    }
}

impl Wanted {
    /// Returns true if `figure` meets the target.
    pub fn is_met(self, figure: f64) -> bool {
        match self {
            Self::AtMost(bound) => figure <= bound,
            Self::AtLeast(bound) => figure >= bound,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(row: &str, values: &[f64]) -> Round {
        Round { figures: [(row.to_owned(), values.to_vec())].into(), missing: BTreeMap::new() }
    }

    fn row() -> Row {
        Row::ratio("a", "a wait", "a loop", "1 us", Unit::Ns)
    }

    #[test]
    fn a_ratio_is_the_median_of_the_rounds_ratios_and_not_the_ratio_of_medians() {
        let mut row = row().wanted(Wanted::AtMost(1.0));
        row.fill(&[round("a", &[1.0, 2.0]), round("a", &[9.0, 10.0]), round("a", &[8.0, 4.0])], 1);
        assert_eq!(row.found.map(|found| (found.min, found.median, found.max)), Some((0.5, 0.9, 2.0)));
        assert_eq!((row.met, row.disturbed), (Some(true), 1));
    }

    #[test]
    fn a_sum_and_a_maximum_cover_all_rounds() {
        let rounds = [round("a", &[1.0, 7.0]), round("a", &[4.0, 7.0])];
        for (figure, expected) in [(Figure::Sum, 5.0), (Figure::Largest, 4.0), (Figure::Value, 2.5)] {
            let mut row = row().with_figure(figure).wanted(Wanted::AtLeast(4.5));
            row.fill(&rounds, 0);
            assert_eq!(row.found.unwrap().median, expected, "{figure:?}");
            assert_eq!(row.met, Some(expected >= 4.5));
        }
    }

    #[test]
    fn a_missing_row_has_its_reason_and_no_figure() {
        let mut row = row().wanted(Wanted::AtMost(1.0));
        let reason = [("0", "another row's reason"), ("a", "no such clock")].map(|(row, why)| (row.into(), why.into()));
        row.fill(&[Round { figures: BTreeMap::new(), missing: reason.into() }], 0);
        assert_eq!((row.found, row.met), (None, None));
        assert_eq!(row.missing["found"], "no such clock");
    }

    #[test]
    fn a_peer_value_of_zero_gives_no_figure() {
        let mut row = row();
        row.fill(&[round("a", &[1.0, 0.0])], 0);
        assert_eq!(row.found, None);
        assert!(!row.missing.is_empty());
    }
}
