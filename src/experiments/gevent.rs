//! Slide 21: a greenlet that ticks, and a SIGINT handler that sets a flag.

use super::experiment::Experiment;
use super::plan::Plan;
use super::ticks::{self, CTRL_C, TICKS};
use crate::provision::packages::{Need, Pin};

pub(super) const EXPERIMENT: Experiment = Experiment {
    name: "gevent",
    slides: "21",
    shows: "a greenlet that reads like blocking code: eleven ticks, or a clean end at Ctrl-C",
    today: "as then, on CPython 2.7 and later; gevent.signal is a module now, its function is gevent.signal_handler; no \
            wheel for 3.13t",
    talk: &[],
    columns: &ticks::COLUMNS,
    script: "slide21_gevent.py",
    plan: |setting| {
        let mut plan = Plan::default();
        if let Some(folder) = plan.need(setting, &NEED)? {
            plan.steps = [TICKS, CTRL_C].map(|case| ticks::step(case, setting.seconds, vec![folder.clone()])).into();
        }
        Ok(plan)
    },
    judge: |result, conditions| {
        for case in &mut result.cases {
            case.judgement = Some(ticks::judge(case, "The greenlet", conditions));
        }
        result.headline = ticks::headline(result, None);
    },
};

/// The last release that serves each Python, with a greenlet of the ABI that it was built for.
pub(super) const NEED: Need = Need {
    name: "gevent",
    pins: &[
        // The wheels for 2.7 from 21.1 on can't make a watcher ("Cannot construct a bare watcher").
        Pin { from: (2, 7), to: (2, 7), requirements: &["gevent==20.12.1", "greenlet==0.4.17"] },
        // Later wheels are not for 3.6's own pip.
        Pin { from: (3, 6), to: (3, 6), requirements: &["gevent==1.4.0", "greenlet==0.4.15"] },
        Pin { from: (3, 7), to: (3, 7), requirements: &["gevent==22.10.2"] },
        Pin { from: (3, 8), to: (3, 8), requirements: &["gevent==24.2.1"] },
        Pin { from: (3, 9), to: (3, 9), requirements: &["gevent==25.9.1"] },
        Pin { from: (3, 10), to: (3, 15), requirements: &["gevent==26.9.0"] },
    ],
    built: true,
};
