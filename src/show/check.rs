//! The results of a check: a row for each interpreter on each host, and the reasons below.

use super::{BOLD, foot, indented, table, visible, wrapped};
use crate::results::{CheckResult, Document, Labels, Row, Status, Verdict};
use crate::units::duration;
use std::fmt::Write;

/// Returns the whole text, with ANSI styles that the writer may have to strip.
pub fn checks(document: &Document<CheckResult>) -> String {
    let mut text = String::new();
    let statement = &document.results[0].statement;
    writeln!(text, "{}", wrapped(&format!("{BOLD}check{BOLD:#} {}", visible(statement)))).unwrap();
    let places = document.results.iter().map(|result| (&result.host, &result.interpreter));
    let labels = Labels::new(places.clone());
    let label = |result: &CheckResult| visible(&labels.of(&result.host, &result.interpreter));
    let mut table = table(["", "verdict", "held", "longest hold", "longest stall\nof others", "calls"]);
    for result in &document.results {
        let [verdict, stall] = verdict_and_stall(result);
        table.add_row([
            label(result),
            verdict,
            held_share(result),
            time(result, "longest_hold_s", result.longest_hold_s),
            stall,
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
    if let Some(caution) = caution(&document.results) {
        writeln!(text, "{}", wrapped(caution)).unwrap();
    }
    writeln!(text, "{}", foot(places)).unwrap();
    text
}

/// Returns the held share of a result, as [`time`] does.
pub(super) fn held_share(result: &CheckResult) -> String {
    let Some(share) = result.held_share else { return "-".into() };
    let mark = if result.is_upper_bound("held_share", share) { "<= " } else { "" };
    format!("{mark}{:.1} %", 100.0 * share)
}

/// Returns a time of a result. A figure that other processes may have made longer is an upper bound.
pub(super) fn time(result: &CheckResult, key: &str, seconds: Option<f64>) -> String {
    match seconds {
        Some(seconds) if result.is_upper_bound(key, seconds) => format!("<= {}", duration(seconds)),
        Some(seconds) => duration(seconds),
        None => "-".into(),
    }
}

/// Returns the two figures on which there may be an expectation: the verdict and the longest stall of others. `!` marks the
/// one that is not as expected, and `?` a stall that may not be.
pub(super) fn verdict_and_stall(result: &CheckResult) -> [String; 2] {
    let stall = time(result, "longest_stall_s", result.longest_stall_s);
    let Some(verdict) = result.verdict else {
        return [if result.status == Status::Skipped { "skipped" } else { "failed" }.into(), stall];
    };
    match (result.row(), result.is_verdict_unexpected()) {
        (Row::Unexpected, true) => [format!("{verdict} !"), stall],
        (Row::Unexpected, false) => [verdict.to_string(), format!("{stall} !")],
        (Row::Inconclusive, _) if verdict != Verdict::Inconclusive => [verdict.to_string(), format!("{stall} ?")],
        _ => [verdict.to_string(), stall],
    }
}

/// Returns the limitation of the verdict `releases`, if one of the results has that verdict or comes near it.
pub(super) fn caution<'a>(results: impl IntoIterator<Item = &'a CheckResult>) -> Option<&'static str> {
    let releases = |result: &CheckResult| matches!(result.verdict, Some(Verdict::Releases | Verdict::Partly));
    results.into_iter().any(releases).then_some(
        "Releasing the GIL lets other threads run Python during the call; it does not make the call thread-safe.",
    )
}

/// Returns the expectation that was not met, or may not have been.
pub(super) fn expectation(result: &CheckResult) -> Option<String> {
    let verdict = result.verdict.filter(|verdict| *verdict != Verdict::Inconclusive)?;
    if let (Row::Inconclusive, Some(most), Some(stall)) = (result.row(), result.max_stall_s, result.longest_stall_s) {
        let least = result.lower_bounds.get("longest_stall_s").copied().filter(|least| *least <= most)?;
        return Some(format!(
            "inconclusive: expected stalls of at most {}, found one between {} and {}, since other processes ran",
            duration(most),
            duration(least),
            duration(stall)
        ));
    }
    if result.row() != Row::Unexpected {
        return None;
    }
    if result.is_verdict_unexpected() {
        let expected: Vec<String> = result.expected.iter().map(Verdict::to_string).collect();
        return Some(format!("expected {}, found {verdict}", expected.join(" or ")));
    }
    let (most, stall) = (result.max_stall_s?, result.longest_stall_s?);
    let found = match result.lower_bounds.get("longest_stall_s") {
        Some(least) if result.is_upper_bound("longest_stall_s", stall) => {
            format!("one between {} and {}", duration(*least), duration(stall))
        }
        _ => duration(stall),
    };
    Some(format!("expected stalls of at most {}, found {found}", duration(most)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(verdict: Verdict, expected: &[Verdict], max_stall_s: Option<f64>, least_s: Option<f64>) -> String {
        let result = CheckResult {
            verdict: Some(verdict),
            expected: expected.to_vec(),
            max_stall_s,
            longest_stall_s: Some(0.03),
            lower_bounds: least_s.map(|least| ("longest_stall_s".to_owned(), least)).into_iter().collect(),
            reason: Some("the reason".into()),
            ..CheckResult::example()
        };
        anstream::adapter::strip_str(&checks(&Document { schema: 1, started_at: String::new(), results: vec![result] }))
            .to_string()
    }

    #[test]
    fn a_row_names_the_expectation_that_it_does_not_meet() {
        use Verdict::{Holds, Releases, Yields};
        let text = shown(Yields, &[Releases, Holds], None, None);
        assert!(text.contains("yields !") && text.contains("expected releases or holds, found yields"), "{text}");
        let text = shown(Yields, &[Yields], Some(0.02), None);
        assert!(text.contains("30 ms !") && text.contains("expected stalls of at most 20 ms, found 30 ms"), "{text}");
        let text = shown(Yields, &[Yields], Some(0.02), Some(0.01));
        assert!(text.contains("30 ms ?") && text.contains("found one between 10 ms and 30 ms"), "{text}");
        let text = shown(Yields, &[Yields], Some(0.005), Some(0.01));
        assert!(text.contains("30 ms !") && text.contains("5 ms, found one between 10 ms and 30 ms"), "{text}");
        let text = shown(Yields, &[Yields], Some(0.005), Some(0.029));
        assert!(text.contains(" 30 ms !") && text.contains("5 ms, found 30 ms"), "{text}");
        assert!(!text.contains("<="), "{text}");
        let text = shown(Yields, &[Yields], Some(0.0295), Some(0.029));
        assert!(text.contains(" 30 ms ?") && text.contains("found one between 29 ms and 30 ms"), "{text}");
        let text = shown(Yields, &[Yields], None, None);
        assert!(!text.contains(['!', '?']) && !text.contains("expected"), "{text}");
    }

    #[test]
    fn a_held_share_that_load_may_have_made_larger_is_an_upper_bound() {
        for (least, text) in [(None, "80.0 %"), (Some(0.7), "80.0 %"), (Some(0.5), "<= 80.0 %")] {
            let lower_bounds = least.map(|least| ("held_share".to_owned(), least)).into_iter().collect();
            let result = CheckResult { held_share: Some(0.8), lower_bounds, ..CheckResult::example() };
            assert_eq!(held_share(&result), text);
        }
        let lower_bounds = [("held_share".to_owned(), 0.001)].into();
        let result = CheckResult { held_share: Some(0.006), lower_bounds, ..CheckResult::example() };
        assert_eq!(held_share(&result), "0.6 %", "half a point is nothing");
    }

    #[test]
    fn what_releases_does_not_mean_is_said_only_where_something_releases() {
        let has_caution = |verdict| shown(verdict, &[], None, None).contains("thread-safe");
        assert!(has_caution(Verdict::Releases) && has_caution(Verdict::Partly));
        assert!(!has_caution(Verdict::Holds) && !has_caution(Verdict::Inconclusive));
    }

    #[test]
    fn an_inconclusive_row_asserts_nothing_and_has_the_word_once() {
        for least_s in [None, Some(0.01), Some(0.025)] {
            let text = shown(Verdict::Inconclusive, &[Verdict::Releases], Some(0.02), least_s);
            assert_eq!(text.matches("inconclusive").count(), 1, "{text}");
            assert!(!text.contains("expected") && text.contains("3.11.7: the reason"), "{text}");
        }
    }
}
