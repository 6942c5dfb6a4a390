//! An earlier run's results, which a later run takes over instead of measuring them again.

use super::{Case, Document, Host, INTERRUPTED, Interpreter, Outcome, RunResult, SCHEMA, Status};
use crate::paths;
use serde::Deserialize;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::{fs, io};

/// The results of an earlier run.
pub struct Earlier {
    path: PathBuf,
    results: Vec<RunResult>,
}

/// The reason why a run can't be resumed.
#[derive(Debug, thiserror::Error)]
pub enum ResumeError {
    /// No run was kept.
    #[error("no earlier run is kept here; run without --resume, or name a file with --resume=FILE")]
    None,
    /// The file can't be read.
    #[error("can't read {0}: {1}; name a file of results with --resume=FILE, or run without --resume")]
    Unreadable(PathBuf, io::Error),
    /// The file holds something else.
    #[error("{0} is not a file of results that this version of busy can resume: {1}")]
    NotResults(PathBuf, serde_json::Error),
    /// The file is of a later version of busy.
    #[error(
        "{0} has schema {1}, but this version of busy reads schemas up to {SCHEMA}; resume it with the busy that wrote it"
    )]
    Newer(PathBuf, u32),
    /// It was measured on another machine, whose figures can't be compared.
    #[error("{0} was measured on another machine ({1}); resume it there, or run without --resume")]
    OtherMachine(PathBuf, String),
}

/// The part of a document that shows whether the rest can be read.
#[derive(Deserialize)]
struct Layout {
    schema: u32,
}

impl Earlier {
    /// Reads `file`, or the latest kept run.
    ///
    /// # Errors
    /// See [`ResumeError`], except [`ResumeError::OtherMachine`].
    pub fn read(file: Option<&Path>) -> Result<Self, ResumeError> {
        let path = file.map(Path::to_path_buf).or_else(latest).ok_or(ResumeError::None)?;
        let text = fs::read(&path).map_err(|error| ResumeError::Unreadable(path.clone(), error))?;
        let not_results = |error| ResumeError::NotResults(path.clone(), error);
        let Layout { schema } = serde_json::from_slice(&text).map_err(not_results)?;
        if schema > SCHEMA {
            return Err(ResumeError::Newer(path, schema));
        }
        let mut document: Document = serde_json::from_slice(&text).map_err(not_results)?;
        // Earlier versions of busy wrote one time for all results.
        for result in document.results.iter_mut().filter(|result| result.started_at.is_empty()) {
            result.started_at.clone_from(&document.started_at);
        }
        Ok(Self { path, results: document.results })
    }

    /// Returns the file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Checks that the results were measured on the machine `here`.
    ///
    /// # Errors
    /// [`ResumeError::OtherMachine`].
    pub fn check_host(&self, here: &Host) -> Result<(), ResumeError> {
        let is_here = |there: &Host| (&there.cpu, there.cores, &there.kernel) == (&here.cpu, here.cores, &here.kernel);
        match self.results.iter().map(|result| &result.host).find(|there| !is_here(there)) {
            Some(other) => {
                Err(ResumeError::OtherMachine(self.path.clone(), format!("{}, {}", other.cpu, other.kernel)))
            }
            None => Ok(()),
        }
    }

    /// Removes and returns the result of `experiment` on this very interpreter, for `seconds` and at `hz`, if everything that
    /// can be measured was measured, and nothing is inconclusive.
    pub fn take(
        &mut self,
        experiment: &str,
        interpreter: &Interpreter,
        seconds: u32,
        hz: NonZero<u32>,
    ) -> Option<RunResult> {
        // The file has paths in the form in which they can be shown.
        let of = |one: &Interpreter| (text(&one.command), one.version.clone(), one.build_flags.clone(), one.gil);
        let at_this_rate = |case: &Case| case.cpu.as_ref().is_none_or(|cpu| cpu.sampler.hz == hz.get());
        let index = self.results.iter().position(|result| {
            result.experiment == experiment
                && result.seconds == seconds
                && result.cases.iter().all(at_this_rate)
                && result.status == Status::Ok
                && result.outcome != Some(Outcome::Inconclusive)
                && of(&result.interpreter) == of(interpreter)
                && !result.missing.values().any(|reason| reason == INTERRUPTED)
        })?;
        Some(self.results.remove(index))
    }
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// Returns the latest kept run. The names of kept runs sort by time.
fn latest() -> Option<PathBuf> {
    let entries = fs::read_dir(paths::runs()?).ok()?.flatten().map(|entry| entry.path());
    entries.filter(|path| path.extension().is_some_and(|extension| extension == "json")).max()
}
