//! Slides 6-7: a pool that is created before its worker function is defined, and a map() that never returns.

use super::experiment::{Column, Experiment};
use super::judge::{Conditions, OTHER_LOAD, inconclusive};
use super::plan::{Kind, Plan, Step};
use crate::measure::Bounds;
use crate::results::{Case, Judgement, RunResult};

pub(super) const EXPERIMENT: Experiment = Experiment {
    name: "late-worker",
    slides: "6-7",
    shows: "pool workers forked before their function exists lose tasks; map() hangs",
    today: "as in the talk if workers are forked. With the other start methods all tasks are lost, or none if the function \
            is defined at module level. 3.14 and later do not fork by default: the talk's script completes no task, and \
            exits (3.14) or starts workers endlessly (3.15)",
    talk: &[],
    columns: &[
        Column { metric: "done", title: "done" },
        Column { metric: "lost", title: "lost" },
        Column { metric: "died", title: "workers died" },
        Column { metric: "hung", title: "hangs" },
    ],
    script: "slide06_late_worker.py",
    plan: |_| {
        let step =
            |case| Step { case, variant: None, arguments: Vec::new(), kind: Kind::SelfReported(Bounds::new(90.0)) };
        let cases = [UNGUARDED, "fork", "forkserver", "spawn", "forkserver-module", "spawn-module"];
        Ok(Plan { steps: cases.map(step).into(), ..Plan::default() })
    },
    judge,
};

/// The talk's script unchanged, with the interpreter's default start method.
const UNGUARDED: &str = "unguarded";

/// The metrics of a case.
struct Found<'a> {
    tasks: f64,
    done: f64,
    died: f64,
    hung: bool,
    method: &'a str,
    error: &'a str,
}

impl Found<'_> {
    fn of(case: &Case) -> Option<Found<'_>> {
        Some(Found {
            tasks: case.number("tasks")?,
            done: case.number("done")?,
            died: case.number("died")?,
            hung: case.truth("hung")?,
            method: case.text("start_method").unwrap_or(""),
            error: case.text("error").unwrap_or(""),
        })
    }

    /// Returns true if the result is the talk's: each of the first four workers dies on its first task, and their
    /// replacements do the rest. Sometimes one of the first workers receives no task, because a replacement was faster.
    fn as_in_the_talk(&self) -> bool {
        self.hung && (1.0..=4.0).contains(&self.died) && self.done == self.tasks - self.died
    }

    /// Returns true if the script starts workers endlessly: it hangs, and more workers than tasks have died.
    fn respawns(&self) -> bool {
        self.hung && self.died > self.tasks
    }
}

fn judge(result: &mut RunResult, conditions: &Conditions) {
    result.headline = result.case(UNGUARDED, None).and_then(Found::of).map(|found| headline(&found));
    for case in &mut result.cases {
        let Some(found) = Found::of(case) else { continue };
        let Found { tasks, done, died, error, .. } = found;
        let returns = if found.hung { "map() never returns" } else { "map() returns" };
        let (changed, expected, summary) = match &*case.case {
            UNGUARDED | "fork" if found.method != "forkserver" => (
                None,
                found.as_in_the_talk(),
                format!(
                    "{done} of {tasks} tasks completed, and {returns}. {died} workers were forked before the function existed, \
                     and each died on its first task ({error}); their replacements have the function."
                ),
            ),
            UNGUARDED => (Some("3.14"), done == 0.0, unguarded(&found)),
            "forkserver" | "spawn" => (
                None,
                found.hung && done == 0.0 && died >= tasks,
                format!(
                    "{done} of {tasks} tasks completed, and {returns}. The workers run the script again, but not its main \
                     guard, which defines the function, so no worker ever has it ({error})."
                ),
            ),
            _ => (
                None,
                !found.hung && done == tasks,
                format!(
                    "{done} of {tasks} tasks completed, and {returns}. The workers run the script again, so they have every \
                     function at module level, even one that is defined after the pool is created."
                ),
            ),
        };
        let judgement = if case.truth("settled") == Some(true) {
            conditions.judge(&[case], expected, summary)
        } else {
            // A task that was neither done nor lost before the time-out shows only that the machine was too slow.
            inconclusive(&summary, &format!("Some tasks were neither done nor lost in time. {OTHER_LOAD}"))
        };
        case.judgement = Some(Judgement { changed_since: changed.map(Into::into), ..judgement });
    }
}

/// Describes the end of the talk's script if its workers run it again.
fn unguarded(found: &Found) -> String {
    let Found { tasks, done, died, error, .. } = found;
    let end = match (found.respawns(), found.hung) {
        (true, _) => {
            format!("and the script starts workers endlessly: {died} processes died of an error while it was watched")
        }
        (false, true) => "and the script hangs".into(),
        (false, false) => "and the script exits".into(),
    };
    format!(
        "{done} of {tasks} tasks completed, {end}. Without a main guard, every process that is to become a worker first \
         tries to create a pool itself, and fails ({error})."
    )
}

/// Returns the number of completed tasks of the talk's script, and how it ended.
fn headline(found: &Found) -> String {
    let end = match (found.respawns(), found.hung) {
        (true, _) => "respawns",
        (false, true) => "hangs",
        (false, false) => "ends",
    };
    format!("{}/{}, {end}", found.done, found.tasks)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::{Host, Interpreter, Outcome};
    use serde_json::json;

    /// Returns the outcome of a case, the headline, and whether the case is marked as changed.
    fn judged(case: &str, metrics: serde_json::Value) -> (Outcome, Option<String>, bool) {
        let mut reported = json!({"tasks": 10, "settled": true, "error": "AttributeError"});
        reported.as_object_mut().unwrap().append(&mut metrics.as_object().unwrap().clone());
        let mut result: RunResult = serde_json::from_value(json!({
            "kind": "run", "experiment": "late-worker", "status": "ok", "seconds": 1,
            "cases": [{"case": case, "wall_s": 1.0, "metrics": reported}],
            "host": Host::example(), "libbusy": "0.1.0", "interpreter": Interpreter::example("3", (3, 14)),
        }))
        .unwrap();
        judge(&mut result, &Conditions { cores: 2 });
        let judgement = result.cases[0].judgement.as_ref().unwrap();
        (judgement.outcome, result.headline.clone(), judgement.changed_since.is_some())
    }

    #[test]
    fn a_script_that_hangs_one_that_exits_and_one_that_respawns_are_distinguished() {
        use Outcome::{AsExpected, Inconclusive, Unexpected};
        let fork = json!({"start_method": "fork", "done": 6, "died": 4, "hung": true});
        assert_eq!(judged(UNGUARDED, fork), (AsExpected, Some("6/10, hangs".into()), false));
        let ends = json!({"start_method": "forkserver", "done": 0, "died": 2, "hung": false});
        assert_eq!(judged(UNGUARDED, ends), (AsExpected, Some("0/10, ends".into()), true));
        let respawns = json!({"start_method": "forkserver", "done": 0, "died": 28, "hung": true});
        assert_eq!(judged(UNGUARDED, respawns), (AsExpected, Some("0/10, respawns".into()), true));
        let quick = json!({"start_method": "fork", "done": 7, "died": 3, "hung": true});
        assert_eq!(judged(UNGUARDED, quick).0, AsExpected);
        let cured = json!({"start_method": "fork", "done": 10, "died": 0, "hung": false});
        assert_eq!(judged(UNGUARDED, cured).0, Unexpected);
        let starved = json!({"start_method": "fork", "done": 0, "died": 1, "hung": true, "settled": false});
        assert_eq!(judged(UNGUARDED, starved).0, Inconclusive);
    }

    #[test]
    fn no_task_is_lost_with_a_function_at_module_level_and_every_task_with_one_in_the_main_guard() {
        use Outcome::{AsExpected, Unexpected};
        let (all, none) = (json!({"done": 10, "died": 0, "hung": false}), json!({"done": 0, "died": 10, "hung": true}));
        assert_eq!(judged("spawn-module", all.clone()).0, AsExpected);
        assert_eq!(judged("spawn-module", none.clone()).0, Unexpected);
        assert_eq!(judged("spawn", none.clone()).0, AsExpected);
        assert_eq!(judged("forkserver", all).0, Unexpected);
        assert_eq!(judged("fork", none).0, Unexpected);
    }
}
