//! Slides 19-20: libev's timers and its watcher for SIGINT, and a watcher that no Python object refers to.

use super::experiment::Experiment;
use super::gevent;
use super::judge::Conditions;
use super::plan::Plan;
use super::ticks::{self, CTRL_C, TICKS};
use crate::results::{Case, Judgement, RunResult};
use crate::units::times;

pub(super) const EXPERIMENT: Experiment = Experiment {
    name: "libev",
    slides: "19-20",
    shows: "timers and signals in one thread; an unreferenced watcher crashes the process",
    today: "pyev is gone; gevent's binding replaces it on CPython 2.7 and later. Ticks and Ctrl-C as in the talk, but the \
            binding holds a reference to a started watcher, so nothing crashes; no wheel for 3.13t",
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
        "A timer that no Python object referred to crashed the process, as in the talk.".into()
    } else {
        format!(
            "A timer that no Python object refers to still ticked {}. libev does not own its watchers: the talk's \
             binding left them to the garbage collector, and the process crashed. gevent's binding holds a reference to a \
             watcher from its start to its stop.",
            times(case.number("ticks").unwrap_or(f64::NAN))
        )
    };
    ticks::judge_unless_late(case, conditions, !crashed && ticks::all_came(case), summary)
}
