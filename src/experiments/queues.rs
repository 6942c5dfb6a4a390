//! Slide 8: the cost of a queue to another process, to another thread, and to nobody.

use super::experiment::{Column, Experiment};
use super::judge::Conditions;
use super::plan::{Kind, Plan, Step};
use crate::measure::Bounds;
use crate::results::{Case, Judgement, Outcome, RunResult};
use crate::units::per_second;

pub(super) const EXPERIMENT: Experiment = Experiment {
    name: "queues",
    slides: "8",
    shows: "items cost most through a queue to another process, less to another thread, least within one thread",
    today: "to another process as then; two threads may be as fast as one from 3.13 on, with some builds; SimpleQueue \
            (3.7) and queues between interpreters (3.13) are faster than either",
    talk: &[],
    columns: &[
        Column { metric: "items_per_s", title: "items/s" },
        Column { metric: "rounds", title: "rounds" },
        Column { metric: TIMES, title: "times one thread" },
        Column { metric: "talk_times_one_thread", title: "talk" },
    ],
    script: "slide08_queues.py",
    plan: |setting| {
        // A round of the slowest takes seconds, on a slow machine and beside others.
        let timeout_s = f64::from(setting.seconds) + 60.0;
        let step = |case| Step {
            case,
            variant: None,
            arguments: Vec::new(),
            kind: Kind::SelfReported(Bounds::new(timeout_s)),
        };
        Ok(Plan {
            steps: ["process", "thread", ONE, "thread-simple", "interpreter"].map(step).into(),
            ..Plan::default()
        })
    },
    judge,
};

const ONE: &str = "one-thread";
const TIMES: &str = "times_one_thread";

/// Two threads that take less than so many times the time of one do not fight.
const NO_FIGHT: f64 = 1.5;

/// What the talk's 1,000,000 items took: 14.2, 7.8 and 2.7 s.
const TALK: [(&str, f64); 3] = [("process", 5.19), ("thread", 2.83), (ONE, 1.0)];

fn judge(result: &mut RunResult, conditions: &Conditions) {
    let time = |case: &Case| case.number("round_s");
    let Some(alone) = result.case(ONE, None).and_then(time) else { return };
    let times = |case: &str| Some(result.case(case, None).and_then(time)? / alone);
    let (process, thread) = (times("process"), times("thread"));
    let what = if result.interpreter.gil { "the GIL" } else { "the queue's lock" };
    let newer = result.interpreter.version_info >= (3, 13);
    // PyPy's is Python (Lib/queue.py, _PySimpleQueue).
    let simple_in_c = result.interpreter.implementation == "cpython";
    for case in &mut result.cases {
        let Some(times) = time(case).map(|time| time / alone) else { continue };
        case.metrics.insert(TIMES.into(), times.into());
        if let Some((_, talk)) = TALK.iter().find(|(name, _)| *name == case.case) {
            case.metrics.insert("talk_times_one_thread".into(), (*talk).into());
        }
        let took = format!("{times:.2} times the time of one thread");
        let judged = |expected, summary| conditions.judge(&[case], expected, summary);
        let judgement = match &*case.case {
            "process" => slower(times, format!("To another process, by a pipe: {took} (the talk's 5.19).")),
            "thread" => {
                let summary = format!("To another thread: {took} (the talk's 2.83).");
                if newer && times < NO_FIGHT {
                    let summary =
                        format!("{summary} From 3.13 on two threads need not fight; that depends on the build too.");
                    Judgement { changed_since: Some("3.13".into()), ..judged(true, summary) }
                } else {
                    slower(times, format!("{summary} They fight for {what} at every item."))
                }
            }
            ONE => {
                let rate = per_second(case.number("items_per_s").unwrap_or(f64::NAN));
                let summary =
                    format!("One thread puts in and takes out {rate} items a second: the yardstick for the rest.");
                judged(true, summary)
            }
            "thread-simple" if simple_in_c => judged(
                thread.is_none_or(|thread| times < thread),
                format!("To another thread by SimpleQueue, which is written in C and does little else: {took}."),
            ),
            "thread-simple" => {
                judged(true, format!("To another thread by SimpleQueue, here written in Python: {took}."))
            }
            _ => judged(
                process.is_none_or(|process| times < process),
                format!("To another interpreter in the same process, without a pipe: {took}."),
            ),
        };
        case.judgement = Some(judgement);
    }
    let headline = |process, thread| format!("{process:.1} : {thread:.1} : 1");
    result.headline = process.zip(thread).map(|(process, thread)| headline(process, thread));
}

/// Two sides that do more than one, and wait for each other, can't need less than its time: if they do, the one had less
/// of the machine. Nor do two threads fight unless both have a core.
fn slower(times: f64, summary: String) -> Judgement {
    if times > 1.0 {
        return Judgement { outcome: Outcome::AsExpected, changed_since: None, summary };
    }
    let why = "Inconclusive: that is less than the least, so other processes came between; see what else runs.";
    Judgement { outcome: Outcome::Inconclusive, changed_since: None, summary: format!("{summary} {why}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::{Host, Interpreter};
    use serde_json::json;

    /// With cases of these names and times, judged.
    fn result(interpreter: &Interpreter, cases: &[(&str, f64)]) -> RunResult {
        let case =
            |(name, round_s): &(&str, f64)| json!({"case": name, "wall_s": 1.0, "metrics": {"round_s": round_s}});
        let mut result: RunResult = serde_json::from_value(json!({
            "kind": "run", "experiment": "queues", "status": "ok", "seconds": 1,
            "cases": cases.iter().map(case).collect::<Vec<_>>(), "interpreter": interpreter,
            "host": Host::example(), "libbusy": "0.1.0",
        }))
        .unwrap();
        judge(&mut result, &Conditions { cores: 2 });
        result
    }

    /// What becomes of process, thread and the headline.
    fn judged(version: (u32, u32), process_s: f64, thread_s: f64) -> (Vec<(Outcome, bool)>, Option<String>) {
        let cases = [("process", process_s), ("thread", thread_s), (ONE, 1.0)];
        let result = result(&Interpreter::example("3", version), &cases);
        let judgements = result.cases.iter().take(2).map(|case| case.judgement.as_ref().unwrap());
        (judgements.map(|one| (one.outcome, one.changed_since.is_some())).collect(), result.headline)
    }

    #[test]
    fn a_simple_queue_is_quicker_only_where_it_is_written_in_c() {
        for (implementation, expected) in [("cpython", Outcome::Unexpected), ("pypy", Outcome::AsExpected)] {
            let interpreter =
                Interpreter { implementation: implementation.into(), ..Interpreter::example("3", (3, 11)) };
            let found = result(&interpreter, &[("thread-simple", 2.6), ("thread", 1.4), (ONE, 1.0)]);
            assert_eq!(found.cases[0].judgement.as_ref().unwrap().outcome, expected, "{implementation}");
        }
    }

    #[test]
    fn process_and_thread_are_compared_with_one_thread() {
        use Outcome::{AsExpected, Inconclusive};
        let (then, headline) = judged((2, 7), 5.19, 2.83);
        assert_eq!(then, [(AsExpected, false), (AsExpected, false)]);
        assert_eq!(headline.as_deref(), Some("5.2 : 2.8 : 1"));
        assert_eq!(judged((3, 11), 0.9, 0.9).0, [(Inconclusive, false), (Inconclusive, false)]);
        assert_eq!(judged((3, 13), 5.0, 0.9).0, [(AsExpected, false), (AsExpected, true)]);
        assert_eq!(judged((3, 13), 5.0, 2.6).0, [(AsExpected, false), (AsExpected, false)]);
    }
}
