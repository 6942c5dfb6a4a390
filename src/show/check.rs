//! The results of a check: a row for each interpreter, and the reasons below.

use super::{BOLD, indented, table, width};
use crate::results::{CheckResult, Document, Row, Status};
use crate::units::duration;
use std::fmt::Write;

/// The limitation of every verdict.
const CAUTION: &str =
    "\"releases\" means that other threads can run Python during the call, not that the call is thread-safe.";

/// Returns the whole text, with ANSI styles that the writer may have to strip.
pub fn checks(document: &Document<CheckResult>) -> String {
    let mut text = String::new();
    let statement = &document.results[0].statement;
    writeln!(text, "{}", textwrap::fill(&format!("{BOLD}check{BOLD:#} {statement}"), width())).unwrap();
    let mut table = table(["", "verdict", "held", "longest hold", "longest stall\nof others", "calls"]);
    for result in &document.results {
        // A figure that other processes may have made longer is an upper bound.
        let time = |key: &str, seconds: Option<f64>| match seconds {
            Some(seconds) if result.lower_bounds.contains_key(key) => format!("<= {}", duration(seconds)),
            Some(seconds) => duration(seconds),
            None => "-".into(),
        };
        table.add_row([
            result.interpreter.name(),
            word(result),
            result.held_share.map_or_else(|| "-".into(), |share| format!("{:.1} %", 100.0 * share)),
            time("longest_hold_s", result.longest_hold_s),
            time("longest_stall_s", result.longest_stall_s),
            result.calls.map_or_else(|| "-".into(), |calls| calls.to_string()),
        ]);
    }
    writeln!(text, "{table}\n").unwrap();
    for result in &document.results {
        let name = result.interpreter.name();
        for line in [expectation(result), result.reason.clone()].into_iter().flatten() {
            writeln!(text, "{}", indented(&format!("{BOLD}{name}{BOLD:#}: {line}"))).unwrap();
        }
    }
    writeln!(text, "{}", textwrap::fill(CAUTION, width())).unwrap();
    writeln!(text, "{}", document.results[0].host.title()).unwrap();
    text
}

fn word(result: &CheckResult) -> String {
    let mark = if result.row() == Row::Unexpected { " !" } else { "" };
    match (result.status, result.verdict) {
        (Status::Skipped, _) => "skipped".into(),
        (_, Some(verdict)) => format!("{verdict}{mark}"),
        _ => "failed".into(),
    }
}

/// Returns the expectation that was not met.
fn expectation(result: &CheckResult) -> Option<String> {
    let verdict = result.verdict.filter(|_| result.row() == Row::Unexpected)?;
    if let Some(expected) = result.expected.filter(|expected| *expected != verdict) {
        return Some(format!("expected {expected}, found {verdict}"));
    }
    let (most, stall) = (result.max_stall_s?, result.longest_stall_s?);
    Some(format!("expected stalls of at most {}, found {}", duration(most), duration(stall)))
}
