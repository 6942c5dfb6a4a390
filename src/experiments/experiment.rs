//! An experiment, and its run on one interpreter.

use super::judge::Conditions;
use super::plan::{Kind, Plan, Setting, Step};
use crate::measure::{MeasureError, Order, Schedule, measure_self_reported, measure_watched};
use crate::provision::loader::Libbusy;
use crate::results::{Case, Host, Interpreter, RunResult, Status, now};
use std::path::Path;

/// An experiment of the talk.
pub struct Experiment {
    /// Its name on the command line.
    pub name: &'static str,
    /// The talk's slides.
    pub slides: &'static str,
    /// The talk's claim, in one line.
    pub shows: &'static str,
    /// The result that is expected today, with the version since which it differs from the talk's.
    pub today: &'static str,
    /// The talk's figures, where it measured CPU utilization.
    pub talk: &'static [TalkFigures],
    /// The columns of its table, for self-reported cases.
    pub columns: &'static [Column],
    pub(super) script: &'static str,
    /// Returns the cases in their order. Those that can't be measured on this interpreter go into `missing` instead.
    pub(super) plan: fn(&Setting) -> Result<Plan, MeasureError>,
    pub(super) judge: fn(&mut RunResult, &Conditions),
}

/// A column of an experiment's table.
pub struct Column {
    /// The metric that it shows.
    pub metric: &'static str,
    /// Its heading.
    pub title: &'static str,
}

/// The talk's figures for one case, over 10 s on CPython 2.7 and two cores.
pub struct TalkFigures {
    /// The case.
    pub case: &'static str,
    /// The counts of all internal threads.
    pub internal: u64,
    /// The counts of the native thread, which are polls of time(2).
    pub native: Option<u64>,
    /// The CPU utilization.
    pub cpu_percent: f64,
}

/// The duration of the talk's runs, in seconds.
pub const TALK_SECONDS: f64 = 10.0;

/// The resources that all experiments of a run share.
#[derive(Clone, Copy)]
pub struct Bench<'a> {
    /// The machine, and how loaded it was.
    pub host: &'a Host,
    /// The library of the native waits.
    pub libbusy: &'a Libbusy,
    /// The folder of the scripts.
    pub scripts: &'a Path,
}

impl Experiment {
    /// Runs every case that can be run, each in an interpreter of its own, and judges the figures. Calls `report` with the
    /// progress. Ctrl-C ends the run; the cases that were not measured by then are `missing`.
    ///
    /// # Errors
    /// The lab was interrupted, or a supervisor was lost, before the first case. All other failures are part of the result.
    pub fn run(
        &self,
        interpreter: &Interpreter,
        bench: &Bench,
        schedule: Schedule,
        report: &dyn Fn(&str),
    ) -> Result<RunResult, MeasureError> {
        let Bench { host, libbusy, scripts } = *bench;
        let plan = (self.plan)(&Setting { interpreter, libbusy, seconds: schedule.seconds, report })?;
        let mut result = RunResult {
            kind: "run".into(),
            experiment: self.name.into(),
            started_at: now(),
            status: Status::Ok,
            reason: None,
            outcome: None,
            headline: None,
            host: host.clone(),
            libbusy: libbusy.version(),
            interpreter: interpreter.clone(),
            seconds: schedule.seconds,
            cases: Vec::new(),
            missing: plan.missing,
        };
        let script = scripts.join(self.script);
        for step in plan.steps {
            let title = title(step.case, step.variant);
            report(&title);
            match run_step(interpreter, &script, schedule, step) {
                Ok(figures) => result.cases.push(figures),
                Err(error) => {
                    if !error.is_interrupt() && !matches!(error, MeasureError::Skipped(_)) {
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
        (self.judge)(&mut result, &Conditions { cores: host.cores });
        result.outcome = result.cases.iter().filter_map(|case| Some(case.judgement.as_ref()?.outcome)).max();
        Ok(result)
    }

    /// Returns the talk's figures for `case`.
    pub fn talk_figures(&self, case: &str) -> Option<&TalkFigures> {
        self.talk.iter().find(|figures| figures.case == case)
    }
}

fn run_step(interpreter: &Interpreter, script: &Path, schedule: Schedule, step: Step) -> Result<Case, MeasureError> {
    let Step { case, variant, arguments, kind } = step;
    let order = Order { interpreter, script, case, variant, schedule, arguments };
    match kind {
        Kind::Watched => measure_watched(&order),
        Kind::SelfReported(bounds) => measure_self_reported(&order, &bounds),
    }
}

/// Returns a case's name as shown to the user: with its variant, if there are several.
pub fn title(case: &str, variant: Option<&str>) -> String {
    variant.map_or_else(|| case.to_owned(), |variant| format!("{case} ({variant})"))
}
