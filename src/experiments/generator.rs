//! Slide 18: generators as coroutines, beside threads that do the same.

use super::experiment::{Column, Experiment};
use super::judge::Conditions;
use super::plan::{Kind, Plan, Step};
use crate::measure::Bounds;
use crate::results::{Case, Judgement, Outcome, RunResult};
use crate::units::per_second;

pub(super) const EXPERIMENT: Experiment = Experiment {
    name: "generator",
    slides: "18",
    shows: "generators take turns in one thread without a fight for the GIL: fine for tasks that wait, not for those that compute",
    today: "as then, on every version, with or without a GIL",
    talk: &[],
    columns: &[
        Column { metric: "threads", title: "threads" },
        Column { metric: "steps_per_s", title: "steps/s" },
        Column { metric: "switches_per_step", title: "context\nswitches/step" },
        Column { metric: "waited_s", title: "waits, s" },
        Column { metric: "took_s", title: "took, s" },
        Column { metric: "slice_s", title: "computes, s" },
        Column { metric: "longest_gap_s", title: "longest gap\nof others, s" },
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
            (IN_TURN, Some(GENERATORS)) => by_turns(case, times_threads(result)),
            (IN_TURN, _) => by_batons(case, result.interpreter.gil),
            (WAITING, _) => waiting(case),
            (_, Some(GENERATORS)) => starving(case),
            _ => sharing(case, result.interpreter.gil),
        };
        let judgement = conditions.judge(&[case], expected, summary);
        result.cases[index].judgement = Some(undisturbed(case, judgement));
    }
    result.headline = times_threads(result).map(|times| format!("{times:.0} x threads"));
}

/// How many times as many steps as threads the generators do.
fn times_threads(result: &RunResult) -> Option<f64> {
    let rate = |variant| result.case(IN_TURN, Some(variant))?.number("steps_per_s");
    Some(rate(GENERATORS)? / rate(THREADS)?)
}

/// A metric; NaN, which no bound takes for fulfilled, where the script did not tell it.
fn number(case: &Case, metric: &str) -> f64 {
    case.number(metric).unwrap_or(f64::NAN)
}

fn by_turns(case: &Case, times_threads: Option<f64>) -> (bool, String) {
    let compared =
        times_threads.map_or_else(String::new, |times| format!(", {times:.0} times what threads do that take turns"));
    let summary = format!(
        "Four generators take turns, strictly one after the other, in one thread: {} steps a second{compared}. Nobody waits \
         for a lock, the GIL or another, so hardly anything makes the kernel switch.",
        per_second(number(case, "steps_per_s"))
    );
    let turns: Vec<_> = (0..12).map(|step| serde_json::json!(step % 4)).collect();
    let in_order = case.metrics.get("first_steps") == Some(&turns.into());
    let few_switches = number(case, "switches_per_step") < 0.1;
    let expected = in_order && few_switches && has_threads(case, 1.0) && times_threads.is_none_or(|times| times > 1.0);
    (expected, summary)
}

fn by_batons(case: &Case, gil: bool) -> (bool, String) {
    let switches = number(case, "switches_per_step");
    let summary = format!(
        "Threads that do the same hand each other a lock: {} steps a second, {switches:.1} context switches a step, for \
         the lock{}.",
        per_second(number(case, "steps_per_s")),
        if gil { " and for the GIL" } else { "" }
    );
    (switches > 0.5 && has_threads(case, 4.0), summary)
}

fn waiting(case: &Case) -> (bool, String) {
    let (waited, took) = (number(case, "waited_s"), number(case, "took_s"));
    let summary = format!(
        "Tasks that wait are what generators are for: the waits of all four together, {waited:.1} s, took {took:.2} s."
    );
    (took < waited / 2.0 && has_threads(case, 1.0), summary)
}

fn starving(case: &Case) -> (bool, String) {
    let (slice, gap) = (number(case, "slice_s"), number(case, "longest_gap_s"));
    let summary = format!(
        "A generator that computes gives way only where it yields: while it computed for {slice:.2} s, the others, due \
         every 0.01 s, stood still, up to {gap:.2} s."
    );
    (gap >= slice && has_threads(case, 1.0), summary)
}

fn sharing(case: &Case, gil: bool) -> (bool, String) {
    let (slice, gap) = (number(case, "slice_s"), number(case, "longest_gap_s"));
    let why = if gil { "is made to give up the GIL meanwhile" } else { "keeps nobody from running" };
    let summary =
        format!("A thread that computes for {slice:.2} s {why}: the other threads stood still for {gap:.3} s at most.");
    (gap < slice && has_threads(case, 4.0), summary)
}

/// A thread stands still also where other processes have the cores.
fn undisturbed(case: &Case, judgement: Judgement) -> Judgement {
    match case.number("cpu_share") {
        Some(share) if share < 0.9 && judgement.outcome == Outcome::Unexpected => {
            let summary = format!("{} Inconclusive: it got {:.0} % of a core only.", judgement.summary, 100.0 * share);
            Judgement { outcome: Outcome::Inconclusive, summary, ..judgement }
        }
        _ => judgement,
    }
}

fn has_threads(case: &Case, threads: f64) -> bool {
    case.number("threads") == Some(threads)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn case(variant: &'static str, metrics: Value) -> Case {
        Case {
            case: COMPUTING.into(),
            variant: Some(variant.into()),
            wall_s: 1.0,
            cpu: None,
            metrics: serde_json::from_value(metrics).unwrap(),
            judgement: None,
            missing: Default::default(),
        }
    }

    #[test]
    fn generators_take_turns_strictly_and_do_more_than_threads() {
        let turns = |order: &[u32], threads| {
            case(
                GENERATORS,
                json!({"first_steps": order, "threads": threads, "steps_per_s": 1e6, "switches_per_step": 0.0}),
            )
        };
        let in_order = [0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3];
        assert!(by_turns(&turns(&in_order, 1), Some(20.0)).0 && by_turns(&turns(&in_order, 1), None).0);
        assert!(!by_turns(&turns(&in_order, 1), Some(0.8)).0 && !by_turns(&turns(&in_order, 2), Some(20.0)).0);
        assert!(!by_turns(&turns(&[0, 1, 2, 3, 1, 0, 2, 3, 0, 1, 2, 3], 1), Some(20.0)).0);
    }

    #[test]
    fn whoever_computes_stops_generators_and_not_threads_unless_the_machine_is_busy() {
        let gap = |threads, gap: f64, share: f64| {
            let metrics = json!({"threads": threads, "slice_s": 0.5, "longest_gap_s": gap, "cpu_share": share});
            case(if threads == 1 { GENERATORS } else { THREADS }, metrics)
        };
        assert!(starving(&gap(1, 0.51, 1.0)).0 && !starving(&gap(1, 0.1, 1.0)).0);
        assert!(sharing(&gap(4, 0.02, 1.0), true).0 && !sharing(&gap(4, 0.6, 1.0), true).0);
        let outcome = |case: &Case| {
            let (expected, summary) = sharing(case, true);
            undisturbed(case, Conditions { cores: 2 }.judge(&[case], expected, summary)).outcome
        };
        assert_eq!(outcome(&gap(4, 0.6, 0.98)), Outcome::Unexpected);
        assert_eq!(outcome(&gap(4, 0.6, 0.4)), Outcome::Inconclusive);
        assert_eq!(outcome(&gap(4, 0.02, 0.4)), Outcome::AsExpected);
    }
}
