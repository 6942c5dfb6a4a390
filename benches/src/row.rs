//! A row: one thing that is compared or measured, what is wanted of it, and what was found.

use crate::spread::Spread;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One thing that is compared or measured.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Row {
    /// Always "bench".
    pub kind: String,
    /// The group that it is measured with.
    pub group: String,
    /// Its own name within the group.
    pub row: String,
    /// What is measured, in words.
    pub what: String,
    /// In which case, in words.
    pub case: String,
    /// Against what, in words.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub peer: Option<String>,
    /// The unit of `ours` and `theirs`.
    pub unit: Unit,
    /// Which figure counts.
    pub figure: Figure,
    /// What it should be; information only.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub wanted: Option<Wanted>,
    /// What busy did, a value a round.
    pub ours: Vec<f64>,
    /// What the peer did, a value a round.
    pub theirs: Vec<f64>,
    /// The figure and its spread over the rounds.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub found: Option<Spread>,
    /// Whether the figure is as wanted.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub met: Option<bool>,
    /// Rounds that other processes disturbed, for as often as they were repeated.
    pub disturbed: usize,
    /// Why there is no figure.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub missing: BTreeMap<String, String>,
}

/// What a value counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Nanoseconds.
    Ns,
    /// Microseconds.
    Us,
    /// Times a second.
    PerSecond,
    /// Percentage points of a core.
    Points,
    /// Percent of a core.
    Percent,
    /// A number of things.
    Count,
}

/// Which figure of the rounds counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Figure {
    /// The median of each round's ours / theirs.
    Ratio,
    /// The median of ours.
    Value,
    /// The largest of ours.
    Largest,
    /// All of ours together.
    Sum,
}

/// What a figure should be.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wanted {
    /// This or less.
    AtMost(f64),
    /// This or more.
    AtLeast(f64),
}

/// What one round told: each row's values, ours and, where there is a peer, the peer's; and the rows (or beginnings of
/// their names) that could not be had, with the reason.
#[derive(Debug, Default, Clone, Deserialize)]
pub struct Round {
    /// By row.
    pub figures: BTreeMap<String, Vec<f64>>,
    /// By row, or the beginning of several.
    #[serde(default)]
    pub missing: BTreeMap<String, String>,
}

impl Row {
    /// `case` of `what` as a ratio of ours to that of `peer`.
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

    /// Shown by ours, be there a peer's value beside it or not.
    pub fn by(self, figure: Figure) -> Self {
        Self { figure, ..self }
    }

    /// Without a peer.
    pub fn alone(self) -> Self {
        Self { peer: None, ..self }
    }

    /// With a bound that the figure should keep.
    pub fn wanted(self, wanted: Wanted) -> Self {
        Self { wanted: Some(wanted), ..self }
    }

    /// Takes from the rounds what is this row's; `disturbed` of them were.
    pub fn fill(&mut self, rounds: &[Round], disturbed: usize) {
        let values: Vec<_> = rounds.iter().filter_map(|round| round.figures.get(&self.row)).collect();
        self.ours = values.iter().filter_map(|values| values.first().copied()).collect();
        self.theirs = values.iter().filter_map(|values| values.get(1).copied()).collect();
        self.disturbed = disturbed;
        self.found = self.spread();
        let Some(found) = &self.found else {
            let reasons = rounds.iter().flat_map(|round| &round.missing);
            let reason = reasons.filter(|(what, _)| self.row.starts_with(*what)).map(|(_, why)| why.clone()).next();
            self.miss(&reason.unwrap_or_else(|| "no round told a finite figure".into()));
            return;
        };
        self.met = self.wanted.map(|wanted| wanted.is_met(found.median));
    }

    /// Says why there is no figure.
    pub fn miss(&mut self, reason: &str) {
        self.missing.insert("found".into(), reason.into());
    }

    /// Of a sum or a largest there is one only: it stands for all of them.
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

    /// What stands for a side's rounds: their median, or what the figure says.
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
    /// True if it tells of `row`, be it only why there is no figure.
    pub fn knows(&self, row: &str) -> bool {
        self.figures.contains_key(row) || self.missing.keys().any(|what| row.starts_with(what))
    }
}

impl Wanted {
    /// Whether `figure` is as wanted.
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
    fn a_sum_and_a_largest_stand_for_all_rounds() {
        let rounds = [round("a", &[1.0, 7.0]), round("a", &[4.0, 7.0])];
        for (figure, expected) in [(Figure::Sum, 5.0), (Figure::Largest, 4.0), (Figure::Value, 2.5)] {
            let mut row = row().by(figure).wanted(Wanted::AtLeast(4.5));
            row.fill(&rounds, 0);
            assert_eq!(row.found.unwrap().median, expected, "{figure:?}");
            assert_eq!(row.met, Some(expected >= 4.5));
        }
    }

    #[test]
    fn what_was_not_had_has_its_reason_and_no_figure() {
        let mut row = row().wanted(Wanted::AtMost(1.0));
        let reason = [("0", "another row's reason"), ("a", "no such clock")].map(|(row, why)| (row.into(), why.into()));
        row.fill(&[Round { figures: BTreeMap::new(), missing: reason.into() }], 0);
        assert_eq!((row.found, row.met), (None, None));
        assert_eq!(row.missing["found"], "no such clock");
    }

    #[test]
    fn a_peer_of_zero_makes_no_figure() {
        let mut row = row();
        row.fill(&[round("a", &[1.0, 0.0])], 0);
        assert_eq!(row.found, None);
        assert!(!row.missing.is_empty());
    }
}
