//! Slide 12: Cython, where a call holds the GIL unless it is inside a `with nogil` block.

use super::experiment::Experiment;
use super::extension::{WITH_LOCK, WITHOUT_LOCK, judge};
use super::plan::{Kind, Plan, Step};
use crate::provision::extension::CompileError;
use crate::provision::extension::{self, CYTHON};
use crate::provision::packages::{Need, Pin};

pub(super) const EXPERIMENT: Experiment = Experiment {
    name: "cython",
    slides: "12",
    shows: "Cython code holds the GIL, but releases it inside `with nogil`",
    today: "as in the talk, on CPython 2.7 and later; without a GIL (3.13t), no thread stalls. Pyrex, which the slide also \
            names, is gone: Cython began as its fork and replaced it",
    talk: &[],
    columns: &[],
    script: "slide15_extension.py",
    plan: |setting| {
        let mut plan = Plan::default();
        let Some(cython) = plan.need(setting, &NEED)? else { return Ok(plan) };
        (setting.report)("compiling");
        match extension::build(&CYTHON, setting.interpreter, setting.libbusy.path(), Some(&cython)) {
            Ok(folder) => {
                let arguments = vec![folder.display().to_string(), CYTHON.name.to_owned()];
                let step = |case| Step { case, variant: None, arguments: arguments.clone(), kind: Kind::Watched };
                plan.steps.extend([WITH_LOCK, WITHOUT_LOCK].map(step));
            }
            Err(CompileError::Supervisor(error)) => return Err(error.into()),
            Err(error) => {
                plan.missing.insert(NEED.name.into(), error.to_string());
            }
        }
        Ok(plan)
    },
    judge,
};

/// The last release that supports each Python.
const NEED: Need = Need {
    name: "Cython",
    pins: &[
        Pin { from: (2, 7), to: (3, 7), requirements: &["cython==3.0.12"] },
        Pin { from: (3, 8), to: (3, 8), requirements: &["cython==3.2.9"] },
        Pin { from: (3, 9), to: (3, 15), requirements: &["cython==3.3.1"] },
    ],
    built: true,
};
