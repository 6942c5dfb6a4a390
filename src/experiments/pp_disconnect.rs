//! Slide 11: a client of Parallel Python that goes while its node works for it.

use super::experiment::{Column, Experiment};
use super::judge::Conditions;
use super::plan::Plan;
use super::pp_remote::{PARALLEL_PYTHON, PP, step};
use crate::results::RunResult;

pub(super) const EXPERIMENT: Experiment = Experiment {
    name: "pp-disconnect",
    slides: "11",
    shows: "a node whose client is killed raises RuntimeError in a thread, lives on, and serves the next client",
    today: "as then; from Python 3.10 on (pp 1.7) it is the same error in other words",
    talk: &[],
    columns: &[
        Column { metric: "release", title: "release" },
        Column { metric: "error", title: "the node's error" },
        Column { metric: "errors", title: "threads" },
        Column { metric: "node_lives", title: "lives on" },
        Column { metric: "next_right", title: "next client's results" },
    ],
    script: "slide11_pp_disconnect.py",
    plan: |setting| {
        let mut plan = Plan::default();
        if let Some(folder) = plan.need(setting, &PARALLEL_PYTHON)? {
            plan.steps.push(step(PP, folder, setting.seconds));
        }
        Ok(plan)
    },
    judge,
};

fn judge(result: &mut RunResult, conditions: &Conditions) {
    let mut headline = None;
    for case in &mut result.cases {
        let number = |metric| case.number(metric).unwrap_or(f64::NAN);
        let (errors, jobs, right) = (number("errors"), number("next_jobs"), number("next_right"));
        let (error, lives) = (case.text("error").unwrap_or("nothing"), case.truth("node_lives") == Some(true));
        let then = if lives { "lived on" } else { "ended" };
        let summary = format!(
            "The client was killed in the middle of a job. The node said \"{error}\" in {errors} of its threads, {then}, and \
             did {right} of {jobs} jobs of the next client."
        );
        let expected = lives && error.starts_with("RuntimeError") && right == jobs && number("next_by_node") == jobs;
        headline = Some(if lives { "node lives" } else { "node ends" }.to_owned());
        case.judgement = Some(conditions.judge(&[case], expected, summary));
    }
    result.headline = headline;
}
