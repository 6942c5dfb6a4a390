//! Slide 8: the cost of a queue between processes, between threads, and within one thread.

use super::experiment::{Column, Experiment};
use super::judge::{Conditions, OTHER_LOAD, inconclusive};
use super::plan::{Kind, Plan, Step};
use crate::measure::Bounds;
use crate::results::{Case, Judgement, Outcome, RunResult};
use crate::units::per_second;

pub(super) const EXPERIMENT: Experiment = Experiment {
    name: "queues",
    slides: "8",
    shows: "a queue costs most between processes, less between threads, least in one thread",
    today: "between processes as in the talk; since 3.13, two threads can be as fast as one, with some builds; SimpleQueue \
            (3.7) and queues between interpreters (3.13) are faster than a Queue between processes or threads",
    talk: &[],
    columns: &[
        Column { metric: "items_per_s", title: "items/s" },
        Column { metric: "rounds", title: "rounds" },
        Column { metric: TIMES, title: "time relative\nto one thread" },
        Column { metric: "talk_times_one_thread", title: "talk" },
    ],
    script: "slide08_queues.py",
    plan: |setting| {
        // One round of the slowest case takes seconds on a slow or loaded machine.
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

/// Two threads do not contend if they take less than this multiple of the time of one thread.
const NO_CONTENTION: f64 = 1.5;

/// The talk's times for 1,000,000 items (14.2, 7.8 and 2.7 s), relative to one thread.
const TALK: [(&str, f64); 3] = [("process", 5.19), ("thread", 2.83), (ONE, 1.0)];

fn judge(result: &mut RunResult, conditions: &Conditions) {
    let time = |case: &Case| case.number("round_s");
    let Some(alone) = result.case(ONE, None).and_then(time) else { return };
    let times = |case: &str| Some(result.case(case, None).and_then(time)? / alone);
    let (process, thread) = (times("process"), times("thread"));
    let lock = if result.interpreter.gil { "the GIL" } else { "the queue's lock" };
    let newer = result.interpreter.version_info >= (3, 13);
    // PyPy's SimpleQueue is written in Python (Lib/queue.py, _PySimpleQueue).
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
            "process" => slower(times, format!("Between processes, through a pipe: {took} (5.19 in the talk).")),
            "thread" => {
                let summary = format!("Between threads: {took} (2.83 in the talk).");
                if newer && times < NO_CONTENTION {
                    let summary =
                        format!("{summary} Since 3.13, two threads need not contend; this also depends on the build.");
                    Judgement { changed_since: Some("3.13".into()), ..judged(true, summary) }
                } else {
                    slower(times, format!("{summary} They contend for {lock} at every item."))
                }
            }
            ONE => {
                let rate = per_second(case.number("items_per_s").unwrap_or(f64::NAN));
                let summary =
                    format!("One thread puts and gets {rate} items per second: the baseline for the other rows.");
                judged(true, summary)
            }
            "thread-simple" if simple_in_c => faster(
                times,
                thread,
                "a Queue between threads",
                format!("Between threads, through a SimpleQueue, which is written in C and has few features: {took}."),
            ),
            "thread-simple" => judged(
                true,
                format!("Between threads, through a SimpleQueue, which is written in Python here: {took}."),
            ),
            _ => faster(
                times,
                process,
                "a Queue between processes",
                format!("Between interpreters of one process, without a pipe: {took}."),
            ),
        };
        case.judgement = Some(judgement);
    }
    let headline = |process, thread| format!("{process:.1} : {thread:.1} : 1");
    result.headline = process.zip(thread).map(|(process, thread)| headline(process, thread));
}

/// Judges a case with two sides. They do more work than one thread, and wait for each other, so they cannot need less time. If
/// they do, other processes slowed the baseline down, or left the two sides one core, on which they do not contend.
fn slower(times: f64, summary: String) -> Judgement {
    if times > 1.0 {
        return Judgement { outcome: Outcome::AsExpected, changed_since: None, summary };
    }
    let reason = "Two sides cannot be faster than one thread, so other processes disturbed the measurement.";
    inconclusive(&summary, &format!("{reason} {OTHER_LOAD}"))
}

/// Judges a case that is usually faster than the row `than`. The opposite refutes nothing: between two sides, a speed depends on
/// how the kernel schedules them, and on the machine.
fn faster(times: f64, than: Option<f64>, what: &str, summary: String) -> Judgement {
    if than.is_none_or(|than| times < than) {
        return Judgement { outcome: Outcome::AsExpected, changed_since: None, summary };
    }
    let reason = "The speed of two sides depends on how the kernel schedules them, so this refutes nothing.";
    inconclusive(&format!("{summary} It was no faster than {what}."), &format!("{reason} {OTHER_LOAD}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::{Host, Interpreter};
    use serde_json::json;

    /// Returns a judged result with cases of these names and times.
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

    /// Returns the outcomes of the cases process and thread, whether each is marked as changed, and the headline.
    fn judged(version: (u32, u32), process_s: f64, thread_s: f64) -> (Vec<(Outcome, bool)>, Option<String>) {
        let cases = [("process", process_s), ("thread", thread_s), (ONE, 1.0)];
        let result = result(&Interpreter::example("3", version), &cases);
        let judgements = result.cases.iter().take(2).map(|case| case.judgement.as_ref().unwrap());
        (judgements.map(|one| (one.outcome, one.changed_since.is_some())).collect(), result.headline)
    }

    #[test]
    fn a_simple_queue_is_compared_only_if_it_is_written_in_c_and_no_speed_is_unexpected() {
        for (implementation, expected) in [("cpython", Outcome::Inconclusive), ("pypy", Outcome::AsExpected)] {
            let interpreter =
                Interpreter { implementation: implementation.into(), ..Interpreter::example("3", (3, 11)) };
            let found = result(&interpreter, &[("thread-simple", 2.6), ("thread", 1.4), (ONE, 1.0)]);
            assert_eq!(found.cases[0].judgement.as_ref().unwrap().outcome, expected, "{implementation}");
        }
        for (interpreter_s, expected) in [(4.0, Outcome::AsExpected), (6.0, Outcome::Inconclusive)] {
            let cases = [("interpreter", interpreter_s), ("process", 5.0), (ONE, 1.0)];
            let found = result(&Interpreter::example("3.14", (3, 14)), &cases);
            assert_eq!(found.cases[0].judgement.as_ref().unwrap().outcome, expected, "{interpreter_s}");
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
