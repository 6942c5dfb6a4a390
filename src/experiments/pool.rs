//! Slide 5: a pool of processes, and which worker takes which task.

use super::experiment::{Column, Experiment};
use super::judge::Conditions;
use super::plan::{Kind, Plan, Step};
use crate::measure::Bounds;
use crate::results::RunResult;

pub(super) const EXPERIMENT: Experiment = Experiment {
    name: "pool",
    slides: "5",
    shows: "which worker of a pool takes which task differs from round to round, and the results do not",
    today: "as then, on every version and start method",
    talk: &[],
    columns: &[
        Column { metric: "workers", title: "workers" },
        Column { metric: "rounds", title: "rounds" },
        Column { metric: "assignments", title: "assignments" },
        Column { metric: "first_round", title: "first round" },
        Column { metric: "second_round", title: "second round" },
    ],
    script: "slide05_pool.py",
    plan: |_| {
        let step =
            |case| Step { case, variant: None, arguments: Vec::new(), kind: Kind::SelfReported(Bounds::new(30.0)) };
        Ok(Plan { steps: ["fork", "forkserver", "spawn"].map(step).into(), ..Plan::default() })
    },
    judge,
};

fn judge(result: &mut RunResult, conditions: &Conditions) {
    for case in &mut result.cases {
        let number = |metric| case.number(metric).unwrap_or(f64::NAN);
        let (rounds, assignments) = (number("rounds"), number("assignments"));
        let summary = format!(
            "In {rounds} rounds the tasks were spread over the workers in {assignments} ways, with the same results in \
             the same order each time."
        );
        let expected = assignments > 1.0 && case.truth("results_differ") == Some(false);
        case.judgement = Some(conditions.judge(&[case], expected, summary));
    }
    let cases: Vec<_> = result.cases.iter().filter_map(|case| case.number("assignments")).collect();
    result.headline = cases.into_iter().reduce(f64::min).map(|fewest| format!("{fewest:.0} ways"));
}
