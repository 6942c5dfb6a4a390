//! The experiments of the talk: what each runs, what the talk saw, and what today's figures say about it.

mod ctypes;
mod extension;
mod judge;

use crate::extension::ExtensionError;
use crate::guard::GuardError;
use crate::interpreter::Interpreter;
use crate::loader::Libbusy;
use crate::measure::{MeasureError, Order, Schedule, measure};
use crate::places;
use crate::results::{RunResult, Status};
use crate::unpack::{self, CacheError};
use std::collections::BTreeMap;
use std::path::PathBuf;

pub use judge::Conditions;

/// An experiment of the talk.
pub struct Experiment {
    /// What `busy run` calls it.
    pub name: &'static str,
    /// Where the talk shows it.
    pub slides: &'static str,
    /// What it shows, in a sentence.
    pub shows: &'static str,
    /// What the talk saw.
    pub talk: &'static [TalkFigures],
    script: &'static str,
    /// The cases in their order; those of one way that is not here go into `missing` instead.
    plan: fn(&Setting) -> Result<Plan, GuardError>,
    judge: fn(&mut RunResult, &Conditions),
}

/// What the talk saw in one case, over 10 s on CPython 2.7 and two cores.
pub struct TalkFigures {
    /// The case.
    pub case: &'static str,
    /// Counts of all internal threads.
    pub internal: u64,
    /// Counts of the native thread; polls of time(2).
    pub native: Option<u64>,
    /// CPU use.
    pub cpu_percent: f64,
}

/// The seconds that the talk's runs took.
pub const TALK_SECONDS: f64 = 10.0;

/// What an experiment finds on its interpreter.
pub struct Setting<'a> {
    interpreter: &'a Interpreter,
    libbusy: &'a Libbusy,
}

/// A case to run: its name, the way into native code, and the script's arguments.
struct Step(&'static str, Option<&'static str>, Vec<String>);

#[derive(Default)]
struct Plan {
    steps: Vec<Step>,
    missing: BTreeMap<String, String>,
}

/// All experiments, in the talk's order.
pub const ALL: [&Experiment; 2] = [&ctypes::EXPERIMENT, &extension::EXPERIMENT];

/// The experiment of that name.
pub fn find(name: &str) -> Option<&'static Experiment> {
    ALL.into_iter().find(|experiment| experiment.name == name)
}

/// The scripts, which travel inside this executable.
const SCRIPTS: [(&str, &str); 3] = [
    ("side_by_side.py", include_str!("../../experiments/side_by_side.py")),
    ("slide13_ctypes.py", include_str!("../../experiments/slide13_ctypes.py")),
    ("slide15_extension.py", include_str!("../../experiments/slide15_extension.py")),
];

/// Puts the scripts where an interpreter can run them.
///
/// # Errors
/// The cache folder can't be written.
pub fn unpack() -> Result<PathBuf, CacheError> {
    unpack::files("experiments", &SCRIPTS)
}

impl Experiment {
    /// Runs every case that can be run, each in an interpreter of its own, and judges the figures. `before` is told
    /// of each case.
    ///
    /// # Errors
    /// The lab was stopped. All else is a result.
    pub fn run(
        &self,
        interpreter: &Interpreter,
        libbusy: &Libbusy,
        scripts: &std::path::Path,
        schedule: Schedule,
        conditions: &Conditions,
        mut before: impl FnMut(&str),
    ) -> Result<RunResult, GuardError> {
        let plan = (self.plan)(&Setting { interpreter, libbusy })?;
        let mut result = RunResult {
            kind: "run",
            experiment: self.name,
            status: Status::Ok,
            reason: None,
            outcome: None,
            interpreter: interpreter.clone(),
            seconds: schedule.seconds,
            cases: Vec::new(),
            missing: plan.missing,
        };
        let script = scripts.join(self.script);
        for Step(case, way, arguments) in plan.steps {
            let title = title(case, way);
            before(&title);
            match measure(interpreter, &Order { script: &script, case, way, schedule, arguments }) {
                Ok(figures) => result.cases.push(figures),
                Err(MeasureError::Guard(GuardError::Interrupted)) => return Err(GuardError::Interrupted),
                Err(error) => {
                    result.status = Status::Failed;
                    result.reason.get_or_insert_with(|| format!("{title}: {error}"));
                    result.missing.insert(title, error.to_string());
                }
            }
        }
        if result.cases.is_empty() && result.status == Status::Ok {
            result.status = Status::Skipped;
            result.reason = result.missing.values().next().cloned();
        }
        (self.judge)(&mut result, conditions);
        result.outcome = result.cases.iter().filter_map(|case| Some(case.judgement.as_ref()?.outcome)).max();
        Ok(result)
    }

    /// What the talk saw in `case`.
    pub fn talk_figures(&self, case: &str) -> Option<&TalkFigures> {
        self.talk.iter().find(|figures| figures.case == case)
    }
}

/// A case's name for people: with its way, where there are several.
pub fn title(case: &str, way: Option<&str>) -> String {
    way.map_or_else(|| case.to_owned(), |way| format!("{case} ({way})"))
}
