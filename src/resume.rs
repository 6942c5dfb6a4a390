//! What an earlier run has measured, so that a later one need not.

use crate::guard::GuardError;
use crate::host::Host;
use crate::interpreter::Interpreter;
use crate::measure::Schedule;
use crate::places;
use crate::results::{Case, Document, RunResult, Status};
use std::path::{Path, PathBuf};
use std::{fs, io};

/// The results of an earlier run.
pub struct Earlier(Vec<RunResult>);

/// Why there is nothing to resume.
#[derive(Debug, thiserror::Error)]
pub enum ResumeError {
    /// No run was kept.
    #[error("no earlier run is kept here: run without --resume, or name the file by --resume=FILE")]
    None,
    /// The file can't be read.
    #[error("can't read {0}: {1}")]
    Unreadable(PathBuf, io::Error),
    /// It holds something else.
    #[error("{0} is no file of results that this busy can resume: {1}")]
    NoResults(PathBuf, serde_json::Error),
    /// Figures of two machines don't belong into one table.
    #[error("{0} was measured on another machine ({1}): run it there, or without --resume")]
    OtherMachine(PathBuf, String),
}

impl Earlier {
    /// Reads `file`, or the latest kept run, which must have been measured on this machine.
    ///
    /// # Errors
    /// See [`ResumeError`].
    pub fn read(file: Option<&Path>, here: &Host) -> Result<Self, ResumeError> {
        let path = file.map(Path::to_path_buf).or_else(latest).ok_or(ResumeError::None)?;
        let text = fs::read(&path).map_err(|error| ResumeError::Unreadable(path.clone(), error))?;
        let document: Document =
            serde_json::from_slice(&text).map_err(|error| ResumeError::NoResults(path.clone(), error))?;
        let there = &document.host;
        if (&there.cpu, there.cores, &there.kernel) != (&here.cpu, here.cores, &here.kernel) {
            return Err(ResumeError::OtherMachine(path, format!("{}, {}", there.cpu, there.kernel)));
        }
        Ok(Self(document.results))
    }

    /// Its result of this experiment on this very interpreter, if all was measured that could be.
    pub fn take(&mut self, experiment: &str, interpreter: &Interpreter, schedule: Schedule) -> Option<RunResult> {
        // The file has paths as they can be shown.
        let of = |one: &Interpreter| (text(&one.command), one.version.clone(), one.build_flags.clone(), one.gil);
        let at_this_rate = |case: &Case| case.cpu.as_ref().is_none_or(|cpu| cpu.sampler.hz == schedule.hz.get());
        let interrupted = GuardError::Interrupted.to_string();
        let index = self.0.iter().position(|result| {
            result.experiment == experiment
                && result.seconds == schedule.seconds
                && result.cases.iter().all(at_this_rate)
                && result.status == Status::Ok
                && of(&result.interpreter) == of(interpreter)
                && !result.missing.values().any(|why| *why == interrupted)
        })?;
        Some(self.0.swap_remove(index))
    }
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// The names of kept runs sort by time.
fn latest() -> Option<PathBuf> {
    let entries = fs::read_dir(places::runs()?).ok()?.flatten().map(|entry| entry.path());
    entries.filter(|path| path.extension().is_some_and(|extension| extension == "json")).max()
}
