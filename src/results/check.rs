//! The result of a check: how a statement behaves towards the GIL on one interpreter.

use super::{Host, Interpreter, Name, Row, Status};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// The result of checking one statement on one interpreter.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CheckResult {
    /// Always "check".
    pub kind: Name,
    /// The setup, which runs once before the statement; absent if empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub setup: String,
    /// The statement.
    pub statement: String,
    /// The start of the check, RFC 3339.
    #[serde(default)]
    pub started_at: String,
    /// The machine, and how loaded it was.
    pub host: Host,
    /// The release of libbusy, whose GIL meter was used, as busy_version() returns it; absent if unknown.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub libbusy: String,
    /// The interpreter; absent in the JSON if it is unknown.
    #[serde(default, skip_serializing_if = "Interpreter::is_unknown")]
    pub interpreter: Interpreter,
    /// Whether it could be checked.
    pub status: Status,
    /// The verdict; null if the check was skipped or failed.
    pub verdict: Option<Verdict>,
    /// The verdicts that the user expects, any of them; empty if none is expected.
    pub expected: Vec<Verdict>,
    /// The longest stall that the user accepts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_stall_s: Option<f64>,
    /// The share of its time for which the calling thread holds the GIL while no other thread requests it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held_share: Option<f64>,
    /// The longest uninterrupted hold in one call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub longest_hold_s: Option<f64>,
    /// The longest time that another thread waited for the GIL because of one call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub longest_stall_s: Option<f64>,
    /// The lower bounds of the held share, the longest hold and the longest stall, by key, if other processes may have made
    /// these figures larger, however little.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub lower_bounds: BTreeMap<String, f64>,
    /// The number of calls.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calls: Option<u64>,
    /// The reason why there is no verdict, or a remark on the verdict.
    pub reason: Option<String>,
    /// The figures that could not be had, with the reasons.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub missing: BTreeMap<Name, String>,
}

/// How a call behaves towards the GIL, as other threads experience it (pyext/python/busy/_verdict.py).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It holds the GIL for at most 10 % of its time, and for at most 10 ms in one piece.
    Releases,
    /// It exceeds a limit of `Releases`, but holds the GIL for less than 90 % of its time.
    Partly,
    /// It holds the GIL for 90 % of its time or more, but drops it on request, as Python code does.
    Yields,
    /// It holds the GIL for 90 % of its time or more, and does not drop it on request.
    Holds,
    /// The interpreter has no GIL.
    NoGil,
    /// The check could not decide.
    Inconclusive,
}

impl Verdict {
    /// All verdicts, each with its meaning for the command line's help.
    pub const ALL: [(Self, &'static str); 6] = [
        (Self::Releases, "It holds the GIL for at most 10 % of its time, and for at most 10 ms in one piece"),
        (Self::Partly, "It exceeds one of these limits, but holds the GIL for less than 90 % of its time"),
        (Self::Yields, "It holds the GIL for 90 % or more, but drops it on request, as Python code does"),
        (Self::Holds, "It holds the GIL for 90 % or more and does not drop it on request"),
        (Self::NoGil, "The interpreter has no GIL"),
        (Self::Inconclusive, "The check could not decide; the output gives the reason"),
    ];
}

impl fmt::Display for Verdict {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(out)
    }
}

impl CheckResult {
    /// Returns how this result counts for the exit code.
    pub fn row(&self) -> Row {
        let Some(verdict) = self.verdict else {
            return if self.status == Status::Skipped { Row::Skipped } else { Row::Unexpected };
        };
        match verdict {
            Verdict::Inconclusive if self.expected.contains(&verdict) => return Row::Expected,
            // A figure beside it is no ground for an assertion either.
            Verdict::Inconclusive => return Row::Inconclusive,
            _ if self.is_verdict_unexpected() => return Row::Unexpected,
            _ => {}
        }
        match (self.max_stall_s, self.longest_stall_s) {
            (Some(most), Some(stall)) if stall > most && self.least_stall_s() > most => Row::Unexpected,
            (Some(most), Some(stall)) if stall > most => Row::Inconclusive,
            _ => Row::Expected,
        }
    }

    /// Returns true if there is a verdict, and other verdicts are expected.
    pub fn is_verdict_unexpected(&self) -> bool {
        self.verdict.is_some_and(|verdict| !self.expected.is_empty() && !self.expected.contains(&verdict))
    }

    /// Returns the lower bound of the longest stall.
    fn least_stall_s(&self) -> f64 {
        self.lower_bounds.get("longest_stall_s").copied().or(self.longest_stall_s).unwrap_or(0.0)
    }

    /// Returns true if the value of the figure with this key must be shown as an upper bound, since its lower bound differs
    /// by more than a quarter and by more than a millisecond, or a percentage point. `differ` and `shares_differ` in
    /// pyext/python/busy/_samples.py are the same rules.
    pub fn is_upper_bound(&self, key: &str, value: f64) -> bool {
        let noticeable = if key == "held_share" { 0.01 } else { 0.001 };
        self.lower_bounds.get(key).is_some_and(|least| value - least > f64::max(0.25 * least, noticeable))
    }
}

#[cfg(test)]
impl CheckResult {
    /// Returns a check of `f()` that measured a longest stall of 5 ms, and of which nothing is expected.
    pub(crate) fn example() -> Self {
        Self {
            kind: "check".into(),
            setup: String::new(),
            statement: "f()".into(),
            started_at: String::new(),
            host: Host::example(),
            libbusy: "0.1.0".into(),
            interpreter: Interpreter::example("3.11.7", (3, 11)),
            status: Status::Ok,
            verdict: Some(Verdict::Releases),
            expected: Vec::new(),
            max_stall_s: None,
            held_share: None,
            longest_hold_s: None,
            longest_stall_s: Some(0.005),
            lower_bounds: BTreeMap::new(),
            calls: None,
            reason: None,
            missing: BTreeMap::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::exit_code;

    fn result(verdict: Option<Verdict>, expected: &[Verdict], status: Status) -> CheckResult {
        CheckResult { verdict, expected: expected.to_vec(), status, ..CheckResult::example() }
    }

    #[test]
    fn of_several_rows_the_worst_counts() {
        use Verdict::{Holds, Inconclusive, Releases, Yields};
        let row = |verdict, expected: &[Verdict]| result(verdict, expected, Status::Ok);
        let skipped = || result(None, &[Releases], Status::Skipped);
        let failed = || result(None, &[], Status::Failed);
        let good = || row(Some(Releases), &[Releases]);
        let bad = || row(Some(Holds), &[Releases]);
        let open = || row(Some(Inconclusive), &[Releases]);
        for (rows, code) in [
            (vec![good()], 0),
            (vec![row(Some(Holds), &[])], 0),
            (vec![row(Some(Holds), &[Releases, Holds])], 0),
            (vec![row(Some(Yields), &[Releases, Holds])], 1),
            (vec![row(Some(Inconclusive), &[])], 3),
            (vec![row(Some(Inconclusive), &[Inconclusive])], 0),
            (vec![row(Some(Inconclusive), &[Releases, Inconclusive])], 0),
            (vec![bad()], 1),
            (vec![failed()], 1),
            (vec![skipped()], 3),
            (vec![skipped(), good()], 0),
            (vec![good(), open(), skipped()], 3),
            (vec![open(), bad(), good()], 1),
            (vec![open(), failed()], 1),
        ] {
            assert_eq!(exit_code(rows.iter().map(CheckResult::row)), code, "{rows:?}");
        }
    }

    #[test]
    fn a_stall_that_load_may_have_made_longer_fails_only_if_its_lower_bound_is_too_long() {
        for (least, row) in [(0.002, Row::Inconclusive), (0.0039, Row::Inconclusive), (0.0045, Row::Unexpected)] {
            let lower_bounds = BTreeMap::from([("longest_stall_s".to_owned(), least)]);
            let result = result(Some(Verdict::Yields), &[], Status::Ok);
            assert_eq!(CheckResult { max_stall_s: Some(0.004), lower_bounds, ..result }.row(), row);
        }
    }

    #[test]
    fn a_stall_beyond_the_bound_is_not_as_expected() {
        for (most, row) in [(0.004, Row::Unexpected), (0.006, Row::Expected)] {
            for expected in [&[][..], &[Verdict::Holds]] {
                let result =
                    CheckResult { max_stall_s: Some(most), ..result(Some(Verdict::Holds), expected, Status::Ok) };
                assert_eq!(result.row(), row);
            }
        }
        let inconclusive = result(Some(Verdict::Inconclusive), &[], Status::Ok);
        assert_eq!(CheckResult { max_stall_s: Some(0.004), ..inconclusive }.row(), Row::Inconclusive);
    }
}
