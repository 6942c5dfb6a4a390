//! Slide 5: a pool of processes, and its nondeterministic assignment of tasks to workers.

use super::experiment::{Column, Experiment};
use super::judge::Conditions;
use super::plan::{Kind, Plan, Step};
use crate::measure::Bounds;
use crate::results::RunResult;

pub(super) const EXPERIMENT: Experiment = Experiment {
    name: "pool",
    slides: "5",
    shows: "which worker runs which task differs between rounds; the results do not",
    today: "as in the talk, with every version and start method",
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
        let same_results = case.truth("results_differ") == Some(false);
        let results =
            if same_results { "the results and their order were always the same" } else { "the results differed" };
        let summary = format!(
            "In {rounds} rounds, the tasks were assigned to the workers in {assignments} different ways; {results}."
        );
        let expected = assignments > 1.0 && same_results;
        case.judgement = Some(conditions.judge(&[case], expected, summary));
    }
    let cases: Vec<_> = result.cases.iter().filter_map(|case| case.number("assignments")).collect();
    result.headline = cases.into_iter().reduce(f64::min).map(|fewest| format!("{fewest:.0} ways"));
}
