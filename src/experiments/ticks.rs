//! The common part of the experiments with an event loop: eleven ticks, or fewer and a clean exit on Ctrl-C.

use super::experiment::Column;
use super::judge::{Conditions, disturbed};
use super::plan::{Kind, Step};
use crate::measure::Bounds;
use crate::results::{Case, Judgement, RunResult};
use crate::units::times;
use std::path::PathBuf;

/// The case in which all ticks come: the talk's dots.
pub(super) const TICKS: &str = "ticks";
/// The case in which SIGINT arrives midway.
pub(super) const CTRL_C: &str = "ctrl-c";

/// The talk's number of dots: one per second from 0 s to 10 s.
const ALL: f64 = 11.0;

pub(super) const COLUMNS: [Column; 6] = [
    Column { metric: "ticks", title: "ticks" },
    Column { metric: "ended_by", title: "ended by" },
    Column { metric: "took_s", title: "took, s" },
    Column { metric: "latest_s", title: "largest\ndelay, s" },
    Column { metric: "stop_s", title: "Ctrl-C\nto exit, s" },
    Column { metric: "threads", title: "threads" },
];

/// Returns a case whose script imports from `packages`.
pub(super) fn step(case: &'static str, seconds: u32, packages: Vec<PathBuf>) -> Step {
    // The ticks take a third of `seconds`; the rest is for imports from a cold cache.
    let bounds = Bounds { max_processes: 4, python_path: packages, ..Bounds::new(f64::from(seconds) + 30.0) };
    Step { case, variant: None, arguments: Vec::new(), kind: Kind::SelfReported(bounds) }
}

/// Returns true if no tick is missing.
pub(super) fn all_came(case: &Case) -> bool {
    case.number("ticks") == Some(ALL)
}

/// Returns the judgement on one of the two cases of the loop that the summary calls `subject`.
pub(super) fn judge(case: &Case, subject: &str, conditions: &Conditions) -> Judgement {
    let number = |metric| case.number(metric).unwrap_or(f64::NAN);
    let (ticks, took, latest) = (number("ticks"), number("took_s"), number("latest_s"));
    let ended_by = case.metrics.get("ended_by").and_then(|by| by.as_str()).unwrap_or("nothing");
    let in_one_thread = case.number("threads") == Some(1.0);
    let (expected, summary) = if case.case == CTRL_C {
        let stop = 1e3 * number("stop_s");
        let ticks = times(ticks);
        let summary = if ended_by == "SIGINT" {
            format!("{subject} had ticked {ticks} when Ctrl-C arrived, and ended cleanly {stop:.1} ms later.")
        } else {
            format!("{subject} ticked {ticks}, and was ended by {ended_by}, not by Ctrl-C.")
        };
        (ended_by == "SIGINT" && number("ticks") < ALL, summary)
    } else {
        let threads = number("threads");
        let threads = if in_one_thread { "one thread".into() } else { format!("{threads} threads") };
        let summary = format!(
            "{subject} ticked {} in {took:.2} s, at most {:.1} ms late, in a process with {threads} (ended by {ended_by}).",
            times(ticks),
            1e3 * latest
        );
        (ended_by != "SIGINT" && all_came(case), summary)
    };
    judge_unless_late(case, conditions, expected && in_one_thread, summary)
}

/// Judges a case. An unexpected result is inconclusive if the loop was without a CPU for an interval: it may then miss a tick,
/// or complete all ticks before Ctrl-C, without a fault of its own.
pub(super) fn judge_unless_late(case: &Case, conditions: &Conditions, expected: bool, summary: String) -> Judgement {
    if !expected && case.number("latest_s") > case.number("interval_s") {
        return disturbed("One tick came after the next was due, so the machine was too busy.", &summary);
    }
    conditions.judge(&[case], expected, summary)
}

/// Returns the ticks of both cases, such as "11, 5 ticks"; None if one was not measured.
pub(super) fn headline(result: &RunResult, variant: Option<&str>) -> Option<String> {
    let ticks = |case| result.case(case, variant)?.number("ticks");
    Some(format!("{}, {} ticks", ticks(TICKS)?, ticks(CTRL_C)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::Outcome;
    use serde_json::json;

    fn outcome(case: &'static str, ticks: u32, ended_by: &str, threads: u32, latest_s: f64) -> Outcome {
        let metrics = json!({"ticks": ticks, "ended_by": ended_by, "threads": threads, "latest_s": latest_s,
                           "interval_s": 0.1, "took_s": 1.0, "stop_s": 0.001});
        let case = Case {
            case: case.into(),
            variant: None,
            wall_s: 1.0,
            cpu: None,
            others_percent: None,
            steal_percent: None,
            metrics: serde_json::from_value(metrics).unwrap(),
            judgement: None,
            missing: Default::default(),
        };
        judge(&case, "It", &Conditions { cores: 2 }).outcome
    }

    #[test]
    fn eleven_ticks_in_one_thread_are_as_expected_and_fewer_only_on_ctrl_c() {
        assert_eq!(outcome(TICKS, 11, "stop timer", 1, 0.001), Outcome::AsExpected);
        assert_eq!(outcome(TICKS, 10, "stop timer", 1, 0.001), Outcome::Unexpected);
        assert_eq!(outcome(TICKS, 11, "stop timer", 2, 0.001), Outcome::Unexpected);
        assert_eq!(outcome(TICKS, 11, "SIGINT", 1, 0.001), Outcome::Unexpected);
        assert_eq!(outcome(CTRL_C, 5, "SIGINT", 1, 0.001), Outcome::AsExpected);
        assert_eq!(outcome(CTRL_C, 11, "stop timer", 1, 0.001), Outcome::Unexpected);
    }

    #[test]
    fn a_missing_tick_is_inconclusive_if_the_loop_had_no_cpu() {
        assert_eq!(outcome(TICKS, 10, "stop timer", 1, 0.15), Outcome::Inconclusive);
        assert_eq!(outcome(TICKS, 11, "stop timer", 1, 0.15), Outcome::AsExpected);
    }
}
