//! What the experiments with an event loop have in common: eleven ticks, or fewer and a clean end at Ctrl-C.

use super::experiment::Column;
use super::judge::Conditions;
use super::plan::{Kind, Step};
use crate::measure::Bounds;
use crate::results::{Case, Judgement, Outcome, RunResult};
use std::path::PathBuf;

/// All of them run: the talk's dots.
pub(super) const TICKS: &str = "ticks";
/// SIGINT comes midway.
pub(super) const CTRL_C: &str = "ctrl-c";

/// As the talk has it: one a second from 0 s to 10 s.
const ALL: f64 = 11.0;

pub(super) const COLUMNS: [Column; 6] = [
    Column { metric: "ticks", title: "ticks" },
    Column { metric: "ended_by", title: "ended by" },
    Column { metric: "took_s", title: "took, s" },
    Column { metric: "latest_s", title: "latest\ntick, s late" },
    Column { metric: "stop_s", title: "Ctrl-C\nto end, s" },
    Column { metric: "threads", title: "threads" },
];

/// A case whose script imports from `packages`.
pub(super) fn step(case: &'static str, seconds: u32, packages: Vec<PathBuf>) -> Step {
    // They take a third of the seconds; the rest is for cold imports.
    let bounds = Bounds { max_processes: 4, python_path: packages, ..Bounds::new(f64::from(seconds) + 30.0) };
    Step { case, variant: None, arguments: Vec::new(), kind: Kind::SelfReported(bounds) }
}

/// True if nothing came to an end before it should.
pub(super) fn all_came(case: &Case) -> bool {
    case.number("ticks") == Some(ALL)
}

/// The judgement on one of the two cases of a loop that is called `what`.
pub(super) fn judge(case: &Case, what: &str, conditions: &Conditions) -> Judgement {
    let number = |metric| case.number(metric).unwrap_or(f64::NAN);
    let (ticks, took, latest) = (number("ticks"), number("took_s"), number("latest_s"));
    let ended_by = case.metrics.get("ended_by").and_then(|by| by.as_str()).unwrap_or("nobody");
    let in_one_thread = case.number("threads") == Some(1.0);
    let (expected, summary) = if case.case == CTRL_C {
        let stop = 1e3 * number("stop_s");
        let summary =
            format!("{what} had ticked {ticks} times when Ctrl-C came, and came to a clean end {stop:.1} ms later.");
        (ended_by == "SIGINT" && ticks < ALL, summary)
    } else {
        let threads = number("threads");
        let of = if in_one_thread { "one thread".into() } else { format!("{threads} threads") };
        let summary = format!(
            "{what} ticked {ticks} times in {took:.2} s in a process of {of}, at most {:.1} ms late; ended by {ended_by}.",
            1e3 * latest
        );
        (ended_by != "SIGINT" && all_came(case), summary)
    };
    punctual(case, conditions.judge(&[case], expected && in_one_thread, summary))
}

/// A loop that did not get the CPU for an interval has missed a tick, or had all of them before Ctrl-C: no fault of its own.
pub(super) fn punctual(case: &Case, judgement: Judgement) -> Judgement {
    let late = case.number("latest_s") > case.number("interval_s");
    if !late || judgement.outcome != Outcome::Unexpected {
        return judgement;
    }
    let summary = format!(
        "{} Inconclusive: a tick came later than the next was due, so the machine was too busy.",
        judgement.summary
    );
    Judgement { outcome: Outcome::Inconclusive, summary, ..judgement }
}

/// The ticks of these cases, "11, 5 ticks"; None if one was not measured.
pub(super) fn headline(result: &RunResult, variant: Option<&str>) -> Option<String> {
    let ticks = |case| result.case(case, variant)?.number("ticks");
    Some(format!("{}, {} ticks", ticks(TICKS)?, ticks(CTRL_C)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn outcome(case: &'static str, ticks: u32, ended_by: &str, threads: u32, latest_s: f64) -> Outcome {
        let metrics = json!({"ticks": ticks, "ended_by": ended_by, "threads": threads, "latest_s": latest_s,
                           "interval_s": 0.1, "took_s": 1.0, "stop_s": 0.001});
        let case = Case {
            case: case.into(),
            variant: None,
            wall_s: 1.0,
            cpu: None,
            metrics: serde_json::from_value(metrics).unwrap(),
            judgement: None,
            missing: Default::default(),
        };
        judge(&case, "It", &Conditions { cores: 2 }).outcome
    }

    #[test]
    fn eleven_ticks_in_one_thread_are_as_expected_and_fewer_only_at_ctrl_c() {
        assert_eq!(outcome(TICKS, 11, "stop timer", 1, 0.001), Outcome::AsExpected);
        assert_eq!(outcome(TICKS, 10, "stop timer", 1, 0.001), Outcome::Unexpected);
        assert_eq!(outcome(TICKS, 11, "stop timer", 2, 0.001), Outcome::Unexpected);
        assert_eq!(outcome(TICKS, 11, "SIGINT", 1, 0.001), Outcome::Unexpected);
        assert_eq!(outcome(CTRL_C, 5, "SIGINT", 1, 0.001), Outcome::AsExpected);
        assert_eq!(outcome(CTRL_C, 11, "stop timer", 1, 0.001), Outcome::Unexpected);
    }

    #[test]
    fn a_machine_that_kept_the_loop_from_running_excuses_a_missing_tick() {
        assert_eq!(outcome(TICKS, 10, "stop timer", 1, 0.15), Outcome::Inconclusive);
        assert_eq!(outcome(TICKS, 11, "stop timer", 1, 0.15), Outcome::AsExpected);
    }
}
