//! Slide 18: generators as coroutines, and threads that do the same work.

use super::experiment::{Column, Experiment};
use super::judge::{Conditions, disturbed};
use super::plan::{Kind, Plan, Step};
use crate::measure::Bounds;
use crate::results::{Case, Judgement, RunResult};
use crate::units::per_second;

pub(super) const EXPERIMENT: Experiment = Experiment {
    name: "generator",
    slides: "18",
    shows: "generators share a thread without GIL contention; only for tasks that wait",
    today: "as in the talk, on every version, with or without a GIL",
    talk: &[],
    columns: &[
        Column { metric: "threads", title: "threads" },
        Column { metric: "steps_per_s", title: "steps/s" },
        Column { metric: "switches_per_step", title: "switches\nper step" },
        Column { metric: "waited_s", title: "waits, s" },
        Column { metric: "took_s", title: "took, s" },
        Column { metric: "slice_s", title: "compute, s" },
        Column { metric: "longest_gap_s", title: "longest\nstall, s" },
    ],
    script: "slide18_generator.py",
    plan: |setting| {
        let timeout_s = 2.0 * f64::from(setting.seconds) + 10.0;
        let step = |(case, variant): (_, &'static str)| Step {
            case,
            variant: Some(variant),
            arguments: vec![variant.to_owned()],
            kind: Kind::SelfReported(Bounds::new(timeout_s)),
        };
        let steps = [
            (IN_TURN, GENERATORS),
            (IN_TURN, THREADS),
            (WAITING, GENERATORS),
            (COMPUTING, GENERATORS),
            (COMPUTING, THREADS),
        ];
        Ok(Plan { steps: steps.map(step).into(), ..Plan::default() })
    },
    judge,
};

const IN_TURN: &str = "in-turn";
const WAITING: &str = "waiting";
const COMPUTING: &str = "beside-computing";
const GENERATORS: &str = "generators";
const THREADS: &str = "threads";

fn judge(result: &mut RunResult, conditions: &Conditions) {
    for index in 0..result.cases.len() {
        let case = &result.cases[index];
        let (expected, summary) = match (&*case.case, case.variant.as_deref()) {
            (IN_TURN, Some(GENERATORS)) => generators_in_turn(case, times_threads(result)),
            (IN_TURN, _) => threads_in_turn(case, result.interpreter.gil),
            (WAITING, _) => waiting_generators(case),
            (_, Some(GENERATORS)) => computing_generator(case),
            _ => computing_thread(case, result.interpreter.gil),
        };
        let judgement = judge_unless_starved(case, conditions, expected, summary);
        result.cases[index].judgement = Some(judgement);
    }
    result.headline = times_threads(result).map(|times| format!("{times:.0} x threads"));
}

/// Returns the rate of the generators' steps relative to the threads'.
fn times_threads(result: &RunResult) -> Option<f64> {
    let rate = |variant| result.case(IN_TURN, Some(variant))?.number("steps_per_s");
    Some(rate(GENERATORS)? / rate(THREADS)?)
}

/// Returns a metric; NaN if the script did not report it, so that every bound fails.
fn number(case: &Case, metric: &str) -> f64 {
    case.number(metric).unwrap_or(f64::NAN)
}

fn generators_in_turn(case: &Case, times_threads: Option<f64>) -> (bool, String) {
    let compared = times_threads
        .map_or_else(String::new, |times| format!(", {times:.0} times the rate of threads that do the same"));
    let summary = format!(
        "Four generators take turns in one thread, in strict order: {} steps per second{compared}. None of them waits for \
         the GIL or another lock, so there are hardly any context switches.",
        per_second(number(case, "steps_per_s"))
    );
    let turns: Vec<_> = (0..12).map(|step| serde_json::json!(step % 4)).collect();
    let in_order = case.metrics.get("first_steps") == Some(&turns.into());
    let few_switches = number(case, "switches_per_step") < 0.1;
    let expected = in_order && few_switches && has_threads(case, 1.0) && times_threads.is_none_or(|times| times > 1.0);
    (expected, summary)
}

fn threads_in_turn(case: &Case, gil: bool) -> (bool, String) {
    let switches = number(case, "switches_per_step");
    let summary = format!(
        "Threads that take turns pass a lock to each other: {} steps per second, with {switches:.1} context switches per \
         step, for the lock{}.",
        per_second(number(case, "steps_per_s")),
        if gil { " and for the GIL" } else { "" }
    );
    (switches > 0.5 && has_threads(case, 4.0), summary)
}

fn waiting_generators(case: &Case) -> (bool, String) {
    let (waited, took) = (number(case, "waited_s"), number(case, "took_s"));
    let summary = format!(
        "Generators suit tasks that wait: the waits of all four tasks, {waited:.1} s in total, overlapped and took \
         {took:.2} s."
    );
    (took < waited / 2.0 && has_threads(case, 1.0), summary)
}

fn computing_generator(case: &Case) -> (bool, String) {
    let (slice, gap) = (number(case, "slice_s"), number(case, "longest_gap_s"));
    let summary = format!(
        "A generator that computes lets the others run only when it yields: while it computed for {slice:.2} s, the others, \
         due every 0.01 s, stalled for up to {gap:.2} s."
    );
    (gap >= slice && has_threads(case, 1.0), summary)
}

fn computing_thread(case: &Case, gil: bool) -> (bool, String) {
    let (slice, gap) = (number(case, "slice_s"), number(case, "longest_gap_s"));
    let reason = if gil { "drops the GIL on request" } else { "has no GIL to hold" };
    let summary =
        format!("A thread that computes for {slice:.2} s {reason}: the other threads stalled for at most {gap:.3} s.");
    (gap < slice && has_threads(case, 4.0), summary)
}

/// Judges a case. An unexpected result is inconclusive if the process was short of CPU time: other processes stall a thread
/// too.
fn judge_unless_starved(case: &Case, conditions: &Conditions, expected: bool, summary: String) -> Judgement {
    match case.number("cpu_share") {
        Some(share) if share < 0.9 && !expected => {
            disturbed(&format!("The process had only {:.0} % of a core.", 100.0 * share), &summary)
        }
        _ => conditions.judge(&[case], expected, summary),
    }
}

fn has_threads(case: &Case, threads: f64) -> bool {
    case.number("threads") == Some(threads)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::Outcome;
    use serde_json::{Value, json};

    fn case(variant: &'static str, metrics: Value) -> Case {
        Case {
            case: COMPUTING.into(),
            variant: Some(variant.into()),
            wall_s: 1.0,
            cpu: None,
            others_percent: None,
            steal_percent: None,
            metrics: serde_json::from_value(metrics).unwrap(),
            judgement: None,
            missing: Default::default(),
        }
    }

    #[test]
    fn generators_take_turns_in_strict_order_and_outpace_threads() {
        let turns = |order: &[u32], threads| {
            case(
                GENERATORS,
                json!({"first_steps": order, "threads": threads, "steps_per_s": 1e6, "switches_per_step": 0.0}),
            )
        };
        let in_order = [0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3];
        let expected = |case: &Case, times_threads| generators_in_turn(case, times_threads).0;
        assert!(expected(&turns(&in_order, 1), Some(20.0)) && expected(&turns(&in_order, 1), None));
        assert!(!expected(&turns(&in_order, 1), Some(0.8)) && !expected(&turns(&in_order, 2), Some(20.0)));
        assert!(!expected(&turns(&[0, 1, 2, 3, 1, 0, 2, 3, 0, 1, 2, 3], 1), Some(20.0)));
    }

    #[test]
    fn computing_stalls_other_generators_but_not_other_threads_unless_the_machine_is_loaded() {
        let gap = |threads, gap: f64, share: f64| {
            let metrics = json!({"threads": threads, "slice_s": 0.5, "longest_gap_s": gap, "cpu_share": share});
            case(if threads == 1 { GENERATORS } else { THREADS }, metrics)
        };
        assert!(computing_generator(&gap(1, 0.51, 1.0)).0 && !computing_generator(&gap(1, 0.1, 1.0)).0);
        assert!(computing_thread(&gap(4, 0.02, 1.0), true).0 && !computing_thread(&gap(4, 0.6, 1.0), true).0);
        let outcome = |case: &Case| {
            let (expected, summary) = computing_thread(case, true);
            judge_unless_starved(case, &Conditions { cores: 2 }, expected, summary).outcome
        };
        assert_eq!(outcome(&gap(4, 0.6, 0.98)), Outcome::Unexpected);
        assert_eq!(outcome(&gap(4, 0.6, 0.4)), Outcome::Inconclusive);
        assert_eq!(outcome(&gap(4, 0.02, 0.4)), Outcome::AsExpected);
    }
}
