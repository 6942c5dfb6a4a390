//! The results of a check: a row for each interpreter, and the reasons below.

use super::{BOLD, foot, indented, table, visible, wrapped};
use crate::results::{CheckResult, Document, Labels, Row, Status, Verdict};
use crate::units::duration;
use std::fmt::Write;

/// The limitation of every verdict.
const CAUTION: &str =
    "\"releases\" means that other threads can run Python during the call, not that the call is thread-safe.";

/// Returns the whole text, with ANSI styles that the writer may have to strip.
pub fn checks(document: &Document<CheckResult>) -> String {
    let mut text = String::new();
    let statement = &document.results[0].statement;
    writeln!(text, "{}", wrapped(&format!("{BOLD}check{BOLD:#} {}", visible(statement)))).unwrap();
    let interpreters = document.results.iter().map(|result| &result.interpreter);
    let labels = Labels::new(interpreters.clone());
    let label = |result: &CheckResult| visible(&labels.of(&result.interpreter));
    let mut table = table(["", "verdict", "held", "longest hold", "longest stall\nof others", "calls"]);
    for result in &document.results {
        let time = |seconds: Option<f64>| seconds.map_or_else(|| "-".into(), duration);
        table.add_row([
            label(result),
            word(result),
            result.held_share.map_or_else(|| "-".into(), |share| format!("{:.1} %", 100.0 * share)),
            time(result.longest_hold_s),
            time(result.longest_stall_s),
            result.calls.map_or_else(|| "-".into(), |calls| calls.to_string()),
        ]);
    }
    writeln!(text, "{table}\n").unwrap();
    for result in &document.results {
        let name = label(result);
        for line in [expectation(result), result.reason.as_deref().map(visible)].into_iter().flatten() {
            writeln!(text, "{}", indented(&format!("{BOLD}{name}{BOLD:#}: {line}"))).unwrap();
        }
    }
    writeln!(text, "{}", wrapped(CAUTION)).unwrap();
    writeln!(text, "{}", foot(&document.results[0].host.title(), interpreters)).unwrap();
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
    if !result.expected.is_empty() && !result.expected.contains(&verdict) {
        let expected: Vec<String> = result.expected.iter().map(Verdict::to_string).collect();
        return Some(format!("expected {}, found {verdict}", expected.join(" or ")));
    }
    let (most, stall) = (result.max_stall_s?, result.longest_stall_s?);
    Some(format!("expected stalls of at most {}, found {}", duration(most), duration(stall)))
}
