//! Slides 18-21 in today's words: coroutines on the standard library's event loop, and on uvloop's.

use super::experiment::Experiment;
use super::plan::{Plan, Step};
use super::ticks::{self, CTRL_C, TICKS};
use crate::provision::packages::{Need, Pin};

pub(super) const EXPERIMENT: Experiment = Experiment {
    name: "asyncio",
    slides: "18-21",
    shows: "what became of it: coroutines on an event loop of the standard library, or on uvloop's",
    today: "from 3.5 on, where `async def` came; uvloop serves CPython 3.6 and later, with no wheel for 3.13t",
    talk: &[],
    columns: &ticks::COLUMNS,
    script: "slide21_asyncio.py",
    plan: |setting| {
        let mut plan = Plan::default();
        if setting.interpreter.version_info < (3, 5) {
            let why = format!("`async def` came with Python 3.5; this is {}", setting.interpreter.title());
            plan.missing.insert("asyncio".into(), why);
            return Ok(plan);
        }
        let steps = |variant, packages: Vec<_>| {
            let step = |case| Step {
                variant: Some(variant),
                arguments: vec![variant.to_owned()],
                ..ticks::step(case, setting.seconds, packages.clone())
            };
            [TICKS, CTRL_C].map(step)
        };
        plan.steps.extend(steps(ASYNCIO, Vec::new()));
        if let Some(folder) = plan.need(setting, &UVLOOP_NEED)? {
            plan.steps.extend(steps(UVLOOP, vec![folder]));
        }
        Ok(plan)
    },
    judge: |result, conditions| {
        for case in &mut result.cases {
            let what = if case.variant.as_deref() == Some(UVLOOP) { "A coroutine on uvloop" } else { "A coroutine" };
            case.judgement = Some(ticks::judge(case, what, conditions));
        }
        result.headline = ticks::headline(result, Some(ASYNCIO));
    },
};

const ASYNCIO: &str = "asyncio";
const UVLOOP: &str = "uvloop";

/// The last release that serves each Python.
const UVLOOP_NEED: Need = Need {
    name: UVLOOP,
    pins: &[
        // Later wheels are not for 3.6's own pip.
        Pin { from: (3, 6), to: (3, 6), requirements: &["uvloop==0.12.2"] },
        Pin { from: (3, 7), to: (3, 7), requirements: &["uvloop==0.18.0"] },
        Pin { from: (3, 8), to: (3, 15), requirements: &["uvloop==0.23.0"] },
    ],
    built: true,
};
