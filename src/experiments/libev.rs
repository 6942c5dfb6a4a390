//! Slides 19-20: libev's timers and its watcher for SIGINT, and a watcher that nobody keeps.

use super::experiment::Experiment;
use super::gevent;
use super::judge::Conditions;
use super::plan::Plan;
use super::ticks::{self, CTRL_C, TICKS};
use crate::results::{Case, Judgement, RunResult};

pub(super) const EXPERIMENT: Experiment = Experiment {
    name: "libev",
    slides: "19-20",
    shows: "timers and signals in one thread: eleven ticks, or a clean end at Ctrl-C; a watcher that nobody keeps crashes the process",
    today: "pyev is gone and gevent's binding stands in for it, on CPython 2.7 and later: as then, but a watcher that was \
            started keeps itself, so nothing crashes; no wheel for 3.13t",
    talk: &[],
    columns: &ticks::COLUMNS,
    script: "slide19_libev.py",
    plan: |setting| {
        let mut plan = Plan::default();
        if let Some(folder) = plan.need(setting, &gevent::NEED)? {
            plan.steps =
                [TICKS, CTRL_C, DROPPED].map(|case| ticks::step(case, setting.seconds, vec![folder.clone()])).into();
        }
        Ok(plan)
    },
    judge,
};

const DROPPED: &str = "dropped-watcher";

fn judge(result: &mut RunResult, conditions: &Conditions) {
    for case in &mut result.cases {
        case.judgement = Some(match &*case.case {
            DROPPED => dropped(case, conditions),
            _ => ticks::judge(case, "The loop", conditions),
        });
    }
    result.headline = ticks::headline(result, None);
}

fn dropped(case: &Case, conditions: &Conditions) -> Judgement {
    let crashed = case.metrics.get("crashed") == Some(&true.into());
    let summary = if crashed {
        "A timer to which nothing in Python referred crashed the process, as the talk's did.".into()
    } else {
        format!(
            "A timer to which nothing in Python refers ticked {} times all the same. libev does not own its watchers, and \
             the talk's binding left them to the garbage collector: the process crashed. gevent's holds on to a watcher \
             from start to stop.",
            case.number("ticks").unwrap_or(f64::NAN)
        )
    };
    ticks::punctual(case, conditions.judge(&[case], !crashed && ticks::all_came(case), summary))
}
