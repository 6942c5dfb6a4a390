//! Slide 4: processes that share only channels, with PyCSP.

use super::experiment::{Column, Experiment};
use super::judge::Conditions;
use super::plan::{Kind, Plan, Step};
use crate::measure::Bounds;
use crate::provision::packages::{Need, Pin};
use crate::results::RunResult;

pub(super) const EXPERIMENT: Experiment = Experiment {
    name: "csp",
    slides: "4",
    shows: "processes that share only channels work together and end together",
    today: "as in the talk: PyCSP 0.9.2 (2016) still runs on every version if its processes are forked",
    talk: &[],
    columns: &[
        Column { metric: "processes", title: "processes" },
        Column { metric: "sent", title: "sent" },
        Column { metric: "done_by_worker", title: "done per worker" },
        Column { metric: "taken", title: "received" },
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

/// PyCSP has no wheel, so its source is installed.
const PYCSP: Need =
    Need { name: "PyCSP", pins: &[Pin { from: (2, 7), to: (3, 15), requirements: &["pycsp==0.9.2"] }], built: false };

/// The number of processes: a source, three workers, and a sink.
const PROCESSES: f64 = 5.0;

fn judge(result: &mut RunResult, conditions: &Conditions) {
    let mut headline = None;
    for case in &mut result.cases {
        let number = |metric| case.number(metric).unwrap_or(f64::NAN);
        let (processes, sent, taken, sum) = (number("processes"), number("sent"), number("taken"), number("sum"));
        let end = if case.case == POISON {
            "the sink had received enough and poisoned its channel"
        } else {
            "the source had no more numbers and retired from its channel"
        };
        let summary = format!(
            "In {processes} processes, the source sent {sent} numbers, and the sink received {taken} squares, whose sum is {sum}. \
             Then {end}, and all processes ended."
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
