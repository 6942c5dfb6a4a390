//! What a check's rows mean for who expected something.

use crate::results::{CheckResult, Status, Verdict};

/// What one row is to the whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Row {
    Expected,
    Unexpected,
    Inconclusive,
    Skipped,
}

pub(super) fn of(result: &CheckResult) -> Row {
    let Some(verdict) = result.verdict else {
        return if result.status == Status::Skipped { Row::Skipped } else { Row::Unexpected };
    };
    let stalls = match (result.max_stall_s, result.longest_stall_s) {
        (Some(most), Some(stall)) => stall > most,
        _ => false,
    };
    match result.expected {
        Some(expected) if expected == verdict && !stalls => Row::Expected,
        _ if verdict == Verdict::Inconclusive => Row::Inconclusive,
        Some(expected) if expected != verdict => Row::Unexpected,
        _ if stalls => Row::Unexpected,
        _ => Row::Expected,
    }
}

/// Of several rows the worst: 1 before 3 before 0. Skipped alone is no answer.
pub(super) fn exit_code(results: &[CheckResult]) -> u8 {
    let rows: Vec<Row> = results.iter().map(of).collect();
    match () {
        () if rows.contains(&Row::Unexpected) => 1,
        () if rows.contains(&Row::Inconclusive) || rows.iter().all(|row| *row == Row::Skipped) => 3,
        () => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interpreter::Interpreter;
    use std::collections::BTreeMap;

    fn result(verdict: Option<Verdict>, expected: Option<Verdict>, status: Status) -> CheckResult {
        CheckResult {
            kind: "check".into(),
            setup: String::new(),
            statement: "f()".into(),
            interpreter: Interpreter::example("3.11.7", (3, 11)),
            status,
            verdict,
            expected,
            max_stall_s: None,
            held_share: None,
            longest_hold_s: None,
            longest_stall_s: Some(0.005),
            calls: None,
            reason: None,
            missing: BTreeMap::new(),
        }
    }

    #[test]
    fn of_several_rows_the_worst_counts() {
        use Verdict::{Holds, Inconclusive, Releases};
        let row = |verdict, expected| result(verdict, expected, Status::Ok);
        let skipped = || result(None, Some(Releases), Status::Skipped);
        let failed = || result(None, None, Status::Failed);
        let good = || row(Some(Releases), Some(Releases));
        let bad = || row(Some(Holds), Some(Releases));
        let open = || row(Some(Inconclusive), Some(Releases));
        for (rows, code) in [
            (vec![good()], 0),
            (vec![row(Some(Holds), None)], 0),
            (vec![row(Some(Inconclusive), None)], 3),
            (vec![row(Some(Inconclusive), Some(Inconclusive))], 0),
            (vec![bad()], 1),
            (vec![failed()], 1),
            (vec![skipped()], 3),
            (vec![skipped(), good()], 0),
            (vec![good(), open(), skipped()], 3),
            (vec![open(), bad(), good()], 1),
            (vec![open(), failed()], 1),
        ] {
            assert_eq!(exit_code(&rows), code, "{rows:?}");
        }
    }

    #[test]
    fn a_stall_beyond_the_bound_is_not_as_expected() {
        for (most, row) in [(0.004, Row::Unexpected), (0.006, Row::Expected)] {
            for expected in [None, Some(Verdict::Holds)] {
                let result =
                    CheckResult { max_stall_s: Some(most), ..result(Some(Verdict::Holds), expected, Status::Ok) };
                assert_eq!(of(&result), row);
            }
        }
    }
}
