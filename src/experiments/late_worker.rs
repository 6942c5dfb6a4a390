//! Slides 6-7: a pool whose worker function comes after it, and a map that never returns.

use super::experiment::{Column, Experiment};
use super::judge::Conditions;
use super::plan::{Kind, Plan, Step};
use crate::measure::Bounds;
use crate::results::{Case, Judgement, Outcome, RunResult};

pub(super) const EXPERIMENT: Experiment = Experiment {
    name: "late-worker",
    slides: "6-7",
    shows: "a pool made before its worker function exists loses a task with each of its first workers, and its map hangs",
    today: "as then while workers are forked; the other start methods lose all tasks, or none if the function is at module \
            level; from 3.14 on, which no longer forks by itself, the talk's script does no task and ends (3.14) or starts \
            workers without end (3.15)",
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

/// The talk's script as it stands, with the interpreter's own start method.
const UNGUARDED: &str = "unguarded";

/// What a case's script tells.
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

    /// Each of the first four workers dies of the task that it takes, and those that come after them do the rest; now and then
    /// one of the first gets none, since a later one was quicker.
    fn is_the_talks(&self) -> bool {
        self.hung && (1.0..=4.0).contains(&self.died) && self.done == self.tasks - self.died
    }

    /// Every task was lost, and more workers than tasks died.
    fn goes_on(&self) -> bool {
        self.hung && self.died > self.tasks
    }
}

fn judge(result: &mut RunResult, conditions: &Conditions) {
    result.headline = result.case(UNGUARDED, None).and_then(Found::of).map(|found| headline(&found));
    for case in &mut result.cases {
        let Some(found) = Found::of(case) else { continue };
        let Found { tasks, done, died, error, .. } = found;
        let returns = if found.hung { "its map never returns" } else { "its map returns" };
        let (changed, expected, summary) = match &*case.case {
            UNGUARDED | "fork" if found.method != "forkserver" => (
                None,
                found.is_the_talks(),
                format!(
                    "{done} of {tasks} tasks were done, and {returns}: {died} workers were forked before the function existed, \
                     and each died of its first task ({error}); the workers that replaced them have it."
                ),
            ),
            UNGUARDED => (Some("3.14"), done == 0.0, unguarded(&found)),
            "forkserver" | "spawn" => (
                None,
                found.hung && done == 0.0 && died >= tasks,
                format!(
                    "{done} of {tasks} tasks were done, and {returns}: the workers run the script without what its main guard \
                     keeps from them, so none ever has the function ({error})."
                ),
            ),
            _ => (
                None,
                !found.hung && done == tasks,
                format!(
                    "{done} of {tasks} tasks were done, and {returns}: the workers run the script anew, so they have what it \
                     defines at module level, also behind the pool."
                ),
            ),
        };
        let judgement = conditions.judge(&[case], expected, summary);
        let judgement = if case.truth("settled") == Some(true) { judgement } else { unsettled(judgement) };
        case.judgement = Some(Judgement { changed_since: changed.map(Into::into), ..judgement });
    }
}

/// What becomes of the talk's script where workers run it anew.
fn unguarded(found: &Found) -> String {
    let Found { tasks, done, died, error, .. } = found;
    let end = match (found.goes_on(), found.hung) {
        (true, _) => format!("and it does not end: {died} processes died of the same while it was watched"),
        (false, true) => "and it hangs".into(),
        (false, false) => "and it ends".into(),
    };
    format!(
        "{done} of {tasks} tasks were done, {end}: without a main guard every process that is to become a worker makes a \
         pool itself first ({error})"
    )
}

/// A task that was neither done nor lost when the time was up says something about the machine only.
fn unsettled(judgement: Judgement) -> Judgement {
    let summary =
        format!("{} Inconclusive: not every task was done or lost in time; see what else runs.", judgement.summary);
    Judgement { outcome: Outcome::Inconclusive, summary, ..judgement }
}

/// The talk's script: how many tasks were done, and how it ended.
fn headline(found: &Found) -> String {
    let end = match (found.goes_on(), found.hung) {
        (true, _) => "respawns",
        (false, true) => "hangs",
        (false, false) => "ends",
    };
    format!("{}/{}, {end}", found.done, found.tasks)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::{Host, Interpreter};
    use serde_json::json;

    /// What becomes of a case, the headline, and whether it is marked as changed.
    fn judged(case: &str, metrics: serde_json::Value) -> (Outcome, Option<String>, bool) {
        let mut told = json!({"tasks": 10, "settled": true, "error": "AttributeError"});
        told.as_object_mut().unwrap().append(&mut metrics.as_object().unwrap().clone());
        let mut result: RunResult = serde_json::from_value(json!({
            "kind": "run", "experiment": "late-worker", "status": "ok", "seconds": 1,
            "cases": [{"case": case, "wall_s": 1.0, "metrics": told}],
            "host": Host::example(), "libbusy": "0.1.0", "interpreter": Interpreter::example("3", (3, 14)),
        }))
        .unwrap();
        judge(&mut result, &Conditions { cores: 2 });
        let judgement = result.cases[0].judgement.as_ref().unwrap();
        (judgement.outcome, result.headline.clone(), judgement.changed_since.is_some())
    }

    #[test]
    fn the_talks_script_is_told_from_one_that_ends_and_one_that_goes_on() {
        use Outcome::{AsExpected, Inconclusive, Unexpected};
        let fork = json!({"start_method": "fork", "done": 6, "died": 4, "hung": true});
        assert_eq!(judged(UNGUARDED, fork), (AsExpected, Some("6/10, hangs".into()), false));
        let ends = json!({"start_method": "forkserver", "done": 0, "died": 2, "hung": false});
        assert_eq!(judged(UNGUARDED, ends), (AsExpected, Some("0/10, ends".into()), true));
        let goes_on = json!({"start_method": "forkserver", "done": 0, "died": 28, "hung": true});
        assert_eq!(judged(UNGUARDED, goes_on), (AsExpected, Some("0/10, respawns".into()), true));
        let quick = json!({"start_method": "fork", "done": 7, "died": 3, "hung": true});
        assert_eq!(judged(UNGUARDED, quick).0, AsExpected);
        let cured = json!({"start_method": "fork", "done": 10, "died": 0, "hung": false});
        assert_eq!(judged(UNGUARDED, cured).0, Unexpected);
        let starved = json!({"start_method": "fork", "done": 0, "died": 1, "hung": true, "settled": false});
        assert_eq!(judged(UNGUARDED, starved).0, Inconclusive);
    }

    #[test]
    fn a_function_at_module_level_loses_no_task_and_one_in_the_main_guard_all() {
        use Outcome::{AsExpected, Unexpected};
        let (all, none) = (json!({"done": 10, "died": 0, "hung": false}), json!({"done": 0, "died": 10, "hung": true}));
        assert_eq!(judged("spawn-module", all.clone()).0, AsExpected);
        assert_eq!(judged("spawn-module", none.clone()).0, Unexpected);
        assert_eq!(judged("spawn", none.clone()).0, AsExpected);
        assert_eq!(judged("forkserver", all).0, Unexpected);
        assert_eq!(judged("fork", none).0, Unexpected);
    }
}
