//! Slide 4: processes that share nothing but channels, by PyCSP.

use super::experiment::{Column, Experiment};
use super::judge::Conditions;
use super::plan::{Kind, Plan, Step};
use crate::measure::Bounds;
use crate::provision::packages::{Need, Pin};
use crate::results::RunResult;

pub(super) const EXPERIMENT: Experiment = Experiment {
    name: "csp",
    slides: "4",
    shows: "processes that share nothing but channels do a work together, and end together",
    today: "as then: PyCSP 0.9.2 of 2016 still runs, on every version, if its processes are forked",
    talk: &[],
    columns: &[
        Column { metric: "processes", title: "processes" },
        Column { metric: "sent", title: "sent" },
        Column { metric: "done_by_worker", title: "done by each worker" },
        Column { metric: "taken", title: "taken" },
        Column { metric: "sum", title: "sum" },
    ],
    script: "slide04_csp.py",
    plan: |setting| {
        let mut plan = Plan::default();
        if let Some(folder) = plan.need(setting, &PYCSP)? {
            let step = |case| {
                let bounds = Bounds { python_path: vec![folder.clone()], ..Bounds::new(30.0) };
                Step { case, variant: None, arguments: Vec::new(), kind: Kind::SelfReported(bounds) }
            };
            plan.steps.extend([RETIRE, POISON].map(step));
        }
        Ok(plan)
    },
    judge,
};

const RETIRE: &str = "retire";
const POISON: &str = "poison";

/// There is no wheel of it.
const PYCSP: Need =
    Need { name: "PyCSP", pins: &[Pin { from: (2, 7), to: (3, 15), requirements: &["pycsp==0.9.2"] }], built: false };

/// A source, three workers, a sink.
const PROCESSES: f64 = 5.0;

fn judge(result: &mut RunResult, conditions: &Conditions) {
    let mut headline = None;
    for case in &mut result.cases {
        let number = |metric| case.number(metric).unwrap_or(f64::NAN);
        let (processes, sent, taken, sum) = (number("processes"), number("sent"), number("taken"), number("sum"));
        let why = if case.case == POISON {
            "the sink had enough and poisoned its channel"
        } else {
            "the source had no more and retired from its channel"
        };
        let summary = format!(
            "{processes} processes: the source sent {sent} numbers, the sink took {taken} squares, whose sum is {sum}; then \
             {why}, and all ended."
        );
        let expected = processes == PROCESSES
            && number("different") == taken
            && taken > 0.0
            && taken <= sent
            && sum == number("expected_sum");
        headline = Some(format!("{processes} processes"));
        case.judgement = Some(conditions.judge(&[case], expected, summary));
    }
    result.headline = headline;
}
