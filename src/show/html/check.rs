//! Checks as a section of the page: the verdicts, the expected ones beside them.

use super::places::Places;
use crate::results::{CheckResult, Row, Verdict};
use crate::show::check::{caution, expectation, held_share, time, verdict_and_stall};
use askama::Template;

/// The section.
#[derive(Template)]
#[template(path = "check.html")]
pub(super) struct CheckSection {
    rows: Vec<CheckRow>,
    caution: Option<&'static str>,
    facts: Vec<(String, String)>,
}

struct CheckRow {
    statement: String,
    on: String,
    expected: String,
    found: String,
    class: &'static str,
    held: String,
    longest_hold: String,
    longest_stall: String,
    calls: String,
    reason: String,
}

impl CheckSection {
    /// Returns the HTML of these results, of which there is at least one.
    pub(super) fn html(results: &[&CheckResult]) -> String {
        let places = Places::new(results.iter().map(|result| (&result.host, &result.interpreter)));
        let rows = results.iter().map(|result| row(result, &places)).collect();
        let started = results.iter().map(|result| result.started_at.as_str());
        let caution = caution(results.iter().copied());
        let section = Self { rows, caution, facts: places.facts(started, "") };
        section.render().expect("writing to a string")
    }
}

fn row(result: &CheckResult, places: &Places) -> CheckRow {
    let dash = || "-".to_owned();
    let expected: Vec<String> = result.expected.iter().map(Verdict::to_string).collect();
    let [found, longest_stall] = verdict_and_stall(result);
    let reasons = [expectation(result), result.reason.clone()];
    CheckRow {
        statement: result.statement.clone(),
        on: places.of(&result.host, &result.interpreter),
        expected: if expected.is_empty() { dash() } else { expected.join(" or ") },
        found,
        class: match result.row() {
            Row::Expected => "good",
            Row::Unexpected => "bad",
            Row::Inconclusive | Row::Skipped => "open",
        },
        held: held_share(result),
        longest_hold: time(result, "longest_hold_s", result.longest_hold_s),
        longest_stall,
        calls: result.calls.map_or_else(dash, |calls| calls.to_string()),
        reason: reasons.into_iter().flatten().collect::<Vec<_>>().join(" "),
    }
}
