//! The experiments of the talk: what each runs, what the talk saw, and what today's figures say about it.

mod asyncio;
mod csp;
mod ctypes;
mod cython;
mod extension;
mod generator;
mod gevent;
mod interpreters;
mod judge;
mod late_worker;
mod libev;
mod no_gil;
mod pool;
mod pp_disconnect;
mod pp_remote;
mod queues;
mod ticks;

use crate::environment::{EnvironmentError, Need};
use crate::extension::ExtensionError;
use crate::guard::GuardError;
use crate::interpreter::Interpreter;
use crate::interrupt;
use crate::loader::Libbusy;
use crate::measure::{MeasureError, Order, Schedule, measure};
use crate::results::{Case, RunResult, Status};
use crate::told::{Bounds, ask};
use crate::unpack::{self, CacheError};
use crate::{environment, places};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

pub use judge::Conditions;

/// An experiment of the talk.
pub struct Experiment {
    /// What `busy run` calls it.
    pub name: &'static str,
    /// Where the talk shows it.
    pub slides: &'static str,
    /// What it shows, in a sentence: the talk's claim.
    pub shows: &'static str,
    /// What is to be expected today, and from which version on.
    pub today: &'static str,
    /// What the talk saw, where it measured CPU use.
    pub talk: &'static [TalkFigures],
    /// What the table shows of cases that find metrics.
    pub columns: &'static [Column],
    script: &'static str,
    /// The cases in their order; those that can't be had here go into `missing` instead.
    plan: fn(&Setting) -> Result<Plan, GuardError>,
    judge: fn(&mut RunResult, &Conditions),
}

/// A column of an experiment's table.
pub struct Column {
    /// The metric that it shows.
    pub metric: &'static str,
    /// Its heading.
    pub title: &'static str,
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
struct Setting<'a> {
    interpreter: &'a Interpreter,
    libbusy: &'a Libbusy,
    seconds: u32,
    /// Tells people what is being done.
    tell: &'a dyn Fn(&str),
}

/// A case to run.
struct Step {
    case: &'static str,
    /// The variant in which it is done, where there are several: into native code, mostly.
    variant: Option<&'static str>,
    /// What the script is given behind case and seconds.
    arguments: Vec<String>,
    kind: Kind,
}

/// Who finds a case's figures.
enum Kind {
    /// The lab, which watches the script's threads.
    Watched,
    /// The script, which tells them, within these bounds.
    Told(Bounds),
}

#[derive(Default)]
struct Plan {
    steps: Vec<Step>,
    missing: BTreeMap<String, String>,
}

impl Plan {
    /// The folder to import `need` from; what needs it is missing, with the reason, where that can't be had.
    fn need(&mut self, setting: &Setting, need: &Need) -> Result<Option<PathBuf>, GuardError> {
        match environment::prepare(setting.interpreter, need, setting.tell) {
            Ok(folder) => Ok(Some(folder)),
            Err(EnvironmentError::Guard(error)) => Err(error),
            Err(error) => {
                self.missing.insert(need.name.into(), error.to_string());
                Ok(None)
            }
        }
    }
}

/// All experiments, in the talk's order.
pub const ALL: &[&Experiment] = &[
    &csp::EXPERIMENT,
    &pool::EXPERIMENT,
    &late_worker::EXPERIMENT,
    &queues::EXPERIMENT,
    &pp_remote::EXPERIMENT,
    &pp_disconnect::EXPERIMENT,
    &cython::EXPERIMENT,
    &ctypes::EXPERIMENT,
    &extension::EXPERIMENT,
    &generator::EXPERIMENT,
    &libev::EXPERIMENT,
    &gevent::EXPERIMENT,
    &asyncio::EXPERIMENT,
    &interpreters::EXPERIMENT,
    &no_gil::EXPERIMENT,
];

/// The experiment of that name.
pub fn find(name: &str) -> Option<&'static Experiment> {
    ALL.iter().copied().find(|experiment| experiment.name == name)
}

/// The scripts, which travel inside this executable.
const SCRIPTS: &[(&str, &str)] = &[
    ("reporting.py", include_str!("../../experiments/reporting.py")),
    ("slide04_csp.py", include_str!("../../experiments/slide04_csp.py")),
    ("slide05_pool.py", include_str!("../../experiments/slide05_pool.py")),
    ("slide06_late_worker.py", include_str!("../../experiments/slide06_late_worker.py")),
    ("slide08_queues.py", include_str!("../../experiments/slide08_queues.py")),
    ("slide09_pp_remote.py", include_str!("../../experiments/slide09_pp_remote.py")),
    ("slide11_pp_disconnect.py", include_str!("../../experiments/slide11_pp_disconnect.py")),
    ("pp_nodes.py", include_str!("../../experiments/pp_nodes.py")),
    ("bounded.py", include_str!("../../experiments/bounded.py")),
    ("side_by_side.py", include_str!("../../experiments/side_by_side.py")),
    ("slide13_ctypes.py", include_str!("../../experiments/slide13_ctypes.py")),
    ("slide15_extension.py", include_str!("../../experiments/slide15_extension.py")),
    ("slide18_generator.py", include_str!("../../experiments/slide18_generator.py")),
    ("ticks.py", include_str!("../../experiments/ticks.py")),
    ("slide19_libev.py", include_str!("../../experiments/slide19_libev.py")),
    ("slide21_gevent.py", include_str!("../../experiments/slide21_gevent.py")),
    ("slide21_asyncio.py", include_str!("../../experiments/slide21_asyncio.py")),
    ("slide22_interpreters.py", include_str!("../../experiments/slide22_interpreters.py")),
    ("interpreter_loops.py", include_str!("../../experiments/interpreter_loops.py")),
    ("slide02_no_gil.py", include_str!("../../experiments/slide02_no_gil.py")),
    ("check.py", include_str!("../../experiments/check.py")),
    ("_verdict.py", include_str!("../../pyext/python/busy/_verdict.py")),
    ("_beside.py", include_str!("../../pyext/python/busy/_beside.py")),
    ("_refusal.py", include_str!("../../pyext/python/busy/_refusal.py")),
    ("_ctypes_meter.py", include_str!("../../pyext/python/busy/_ctypes_meter.py")),
];

/// Puts the scripts where an interpreter can run them.
///
/// # Errors
/// The cache folder can't be written.
pub fn unpack() -> Result<PathBuf, CacheError> {
    unpack::files("experiments", SCRIPTS)
}

impl Experiment {
    /// Runs every case that can be run, each in an interpreter of its own, and judges the figures. `tell` is told
    /// what is being done. Ctrl-C ends it after the cases that were done; those that were not are `missing`.
    ///
    /// # Errors
    /// The lab was stopped before there was anything to run. All else is a result.
    pub fn run(
        &self,
        interpreter: &Interpreter,
        libbusy: &Libbusy,
        scripts: &Path,
        schedule: Schedule,
        conditions: &Conditions,
        tell: &dyn Fn(&str),
    ) -> Result<RunResult, GuardError> {
        let plan = (self.plan)(&Setting { interpreter, libbusy, seconds: schedule.seconds, tell })?;
        let mut result = RunResult {
            kind: "run".into(),
            experiment: self.name.into(),
            status: Status::Ok,
            reason: None,
            outcome: None,
            headline: None,
            interpreter: interpreter.clone(),
            seconds: schedule.seconds,
            cases: Vec::new(),
            missing: plan.missing,
        };
        let script = scripts.join(self.script);
        for step in plan.steps {
            let title = title(step.case, step.variant);
            if interrupt::requested() {
                result.missing.insert(title, GuardError::Interrupted.to_string());
                continue;
            }
            tell(&title);
            match run_step(interpreter, &script, schedule, step) {
                Ok(figures) => result.cases.push(figures),
                Err(error) => {
                    if !interrupt::requested() && !matches!(error, MeasureError::Skipped(_)) {
                        result.status = Status::Failed;
                        result.reason.get_or_insert_with(|| format!("{title}: {error}"));
                    }
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

fn run_step(interpreter: &Interpreter, script: &Path, schedule: Schedule, step: Step) -> Result<Case, MeasureError> {
    let Step { case, variant, arguments, kind } = step;
    let order = Order { interpreter, script, case, variant, schedule, arguments };
    match kind {
        Kind::Watched => measure(&order),
        Kind::Told(bounds) => ask(&order, &bounds),
    }
}

/// A case's name for people: with its variant, where there are several.
pub fn title(case: &str, variant: Option<&str>) -> String {
    variant.map_or_else(|| case.to_owned(), |variant| format!("{case} ({variant})"))
}
