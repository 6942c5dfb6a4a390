//! Slides 9-10: jobs on remote nodes, by Parallel Python then and by dask.distributed today.

use super::experiment::{Column, Experiment};
use super::judge::Conditions;
use super::plan::{Kind, Plan, Step};
use crate::measure::Bounds;
use crate::provision::packages::{Need, Pin};
use crate::results::RunResult;
use std::path::PathBuf;

pub(super) const EXPERIMENT: Experiment = Experiment {
    name: "pp-remote",
    slides: "9-10",
    shows: "jobs spread over remote nodes and the own one are done in any order, and their results and output come in the \
            order of submission",
    today: "as then, by ppft before Python 3.10 and by pp 1.7 from there on; dask.distributed does the same (3.10)",
    talk: &[],
    columns: &[
        Column { metric: "release", title: "release" },
        Column { metric: "nodes", title: "nodes" },
        Column { metric: "jobs_by_node", title: "jobs of each" },
        Column { metric: "done", title: "done in this order" },
        Column { metric: "in_order", title: "results in order" },
        Column { metric: "printed", title: "with output" },
        Column { metric: "took_s", title: "took s" },
    ],
    script: "slide09_pp_remote.py",
    plan: |setting| {
        let mut plan = Plan::default();
        if let Some(folder) = plan.need(setting, &PARALLEL_PYTHON)? {
            plan.steps.push(step(PP, folder, setting.seconds));
        }
        let interpreter = setting.interpreter;
        if interpreter.free_threaded && interpreter.version_info < (3, 14) {
            let why = "what it needs (cffi, msgpack, tornado) is not built for a free-threaded 3.13";
            plan.missing.insert(DISTRIBUTED.name.into(), why.into());
        } else if let Some(folder) = plan.need(setting, &DISTRIBUTED)? {
            plan.steps.push(step(DASK, folder, setting.seconds));
        }
        Ok(plan)
    },
    judge,
};

pub(super) const PP: &str = "pp";
const DASK: &str = "dask";

/// ppft is Parallel Python, carried over to Python 3 and kept alive; its 1.6.6.4 loses a worker of Python 2 with each job
/// that prints. Since 1.7 there is pp itself again.
pub(super) const PARALLEL_PYTHON: Need = Need {
    name: "Parallel Python",
    pins: &[
        Pin { from: (2, 7), to: (2, 7), requirements: &["ppft==1.6.6.3", "six==1.17.0"] },
        Pin { from: (3, 6), to: (3, 9), requirements: &["ppft==1.6.6.4", "six==1.17.0"] },
        Pin { from: (3, 10), to: (3, 15), requirements: &["pp==1.7.0"] },
    ],
    built: true,
};

/// With what it makes certificates by, so that its nodes serve nobody but their own client.
const DISTRIBUTED: Need = Need {
    name: "dask.distributed 2026.8",
    pins: &[Pin { from: (3, 10), to: (3, 15), requirements: &["distributed==2026.8.0", "cryptography==50.0.2"] }],
    built: true,
};

/// A case whose script starts nodes, and may have to do all jobs of `seconds` or less one after the other.
pub(super) fn step(case: &'static str, folder: PathBuf, seconds: u32) -> Step {
    let bounds = Bounds { python_path: vec![folder], ..Bounds::new(7.0 * f64::from(seconds) + 120.0) };
    Step { case, variant: None, arguments: Vec::new(), kind: Kind::SelfReported(bounds) }
}

fn judge(result: &mut RunResult, conditions: &Conditions) {
    for case in &mut result.cases {
        let number = |metric| case.number(metric).unwrap_or(f64::NAN);
        let (jobs, nodes, printed) = (number("jobs"), number("nodes"), number("printed"));
        let (in_order, done_in_order) = (case.truth("in_order"), case.truth("done_in_order"));
        let (whose, all) = if case.case == PP { ("the own one among them", 4.0) } else { ("all of them remote", 3.0) };
        let order = |in_order| if in_order == Some(true) { "in the order of submission" } else { "in another order" };
        let summary = format!(
            "{jobs} jobs were done by {nodes} nodes, {whose}, {}; their results came {}, in {:.1} s instead of {:.1}, \
             and with what {printed} of them printed.",
            order(done_in_order),
            order(in_order),
            number("took_s"),
            number("one_after_another_s"),
        );
        let expected = in_order == Some(true) && done_in_order == Some(false) && nodes == all && printed == jobs;
        case.judgement = Some(conditions.judge(&[case], expected, summary));
    }
    let case = result.cases.first();
    let headline =
        case.and_then(|case| Some(format!("{} jobs, {} nodes", case.number("jobs")?, case.number("nodes")?)));
    result.headline = headline;
}
