//! Slides 15-17: a Python thread beside a native call that holds the GIL, and beside one that releases it.

use super::experiment::{Experiment, TalkFigures};
use super::judge::{Conditions, headline, one_core, two_cores};
use super::plan::{Kind, Plan, Step};
use crate::provision::extension;
use crate::provision::extension::CompileError;
use crate::provision::installation;
use crate::results::{Judgement, RunResult};

pub(super) const EXPERIMENT: Experiment = Experiment {
    name: "extension",
    slides: "15-17",
    shows: "a native call stalls Python threads only while it holds the GIL",
    today: "as in the talk; without a GIL (3.13t), with_lock stalls no thread",
    talk: &[
        TalkFigures { case: WITH_LOCK, internal: 45_524, native: Some(3_257_960_533), cpu_percent: 100.0 },
        TalkFigures { case: WITHOUT_LOCK, internal: 48_049_276, native: Some(3_271_300_229), cpu_percent: 199.0 },
    ],
    columns: &[],
    script: "slide15_extension.py",
    plan: |setting| {
        let mut plan = Plan::default();
        let mut add = |variant, folder: String, module: &str| {
            let step = |case| {
                let arguments = vec![folder.clone(), module.to_owned()];
                Step { case, variant: Some(variant), arguments, kind: Kind::Watched }
            };
            plan.steps.extend([WITH_LOCK, WITHOUT_LOCK].map(step));
        };
        let mut missing = Vec::new();
        match pyo3_module(setting.interpreter) {
            Ok(folder) => add("pyo3", folder, "busy"),
            Err(reason) => missing.push(("pyo3", reason)),
        }
        match extension::build(&extension::C, setting.interpreter, setting.libbusy.path(), None) {
            Ok(folder) => add("c", folder.display().to_string(), extension::C.name),
            Err(CompileError::Supervisor(error)) => return Err(error.into()),
            Err(error) => missing.push(("c", error.to_string())),
        }
        plan.missing.extend(missing.into_iter().map(|(variant, reason)| (variant.to_owned(), reason)));
        Ok(plan)
    },
    judge,
};

pub(super) const WITH_LOCK: &str = "internal+with_lock";
pub(super) const WITHOUT_LOCK: &str = "internal+without_lock";

/// Returns the folder of the PyO3 module, or the reason why this interpreter cannot import it: the module is built for the
/// stable ABI of CPython 3.10 with a GIL.
fn pyo3_module(interpreter: &crate::results::Interpreter) -> Result<String, String> {
    if interpreter.implementation != "cpython" || interpreter.version_info < (3, 10) {
        return Err(format!("the PyO3 module needs CPython 3.10 or later; this is {}", interpreter.title()));
    }
    if interpreter.free_threaded {
        return Err(format!(
            "the PyO3 module uses the stable ABI of builds with a GIL, which {} cannot load",
            interpreter.title()
        ));
    }
    installation::python_module().map(|folder| folder.display().to_string()).map_err(|error| error.to_string())
}

pub(super) fn judge(result: &mut RunResult, conditions: &Conditions) {
    let interpreter = result.interpreter.clone();
    for index in 0..result.cases.len() {
        let case = &result.cases[index];
        let free = result.case(WITHOUT_LOCK, case.variant.as_deref());
        let (cpu, rate) = (case.cpu_percent(), case.rate("internal"));
        let (expected, summary) = match &*case.case {
            WITH_LOCK if !interpreter.gil => (
                two_cores(case),
                format!(
                    "Without a GIL, with_lock has none to hold: the Python thread runs beside it, and together they use \
                     {cpu:.0} % of a core."
                ),
            ),
            WITH_LOCK => {
                let percent = free.map(|free| 100.0 * rate / free.rate("internal"));
                let compared = percent
                    .map_or_else(String::new, |percent| format!(" ({percent:.2} % of its rate beside without_lock)"));
                let count: u64 = case.threads("internal").map(|thread| thread.count).sum();
                // The Python thread counts for two switch intervals of 5 ms: before with_lock acquires the GIL, and after it
                // returns. Their share is larger in a short run.
                let limit = f64::max(1.0, 3.0 / case.wall_s);
                (
                    one_core(case, &interpreter) && percent.is_none_or(|percent| percent <= limit),
                    format!(
                        "with_lock holds the GIL, so both threads together use {cpu:.0} % of a core. The Python thread counted \
                         to {count}{compared}, in the moments before with_lock acquired the GIL and after it released the GIL."
                    ),
                )
            }
            _ if !interpreter.gil => (
                two_cores(case),
                format!(
                    "Without a GIL, without_lock has none to release: the Python thread runs beside it as it does beside \
                     with_lock, and together they use {cpu:.0} % of a core."
                ),
            ),
            _ => (
                two_cores(case),
                format!(
                    "without_lock releases the GIL, so native code and Python run at once: together they use {cpu:.0} % of a \
                     core."
                ),
            ),
        };
        let rests_on: Vec<_> = free.into_iter().chain([case]).collect();
        let changed_since = (!interpreter.gil && case.case == WITH_LOCK).then(|| "3.13t".into());
        let judgement = conditions.judge(&rests_on, expected, summary);
        result.cases[index].judgement = Some(Judgement { changed_since, ..judgement });
    }
    // The last variant is the C module, if it could be compiled: the simplest one.
    let variant = result.cases.last().and_then(|case| case.variant.clone());
    result.headline = headline(result, &[(WITH_LOCK, variant.as_deref()), (WITHOUT_LOCK, variant.as_deref())]);
}
