//! An earlier run's results, which a later run takes over instead of measuring them again.

use super::{Case, Document, Host, INTERRUPTED, Interpreter, RunResult, Status};
use crate::paths;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::{fs, io};

/// The results of an earlier run.
pub struct Earlier(Vec<RunResult>);

/// The reason why a run can't be resumed.
#[derive(Debug, thiserror::Error)]
pub enum ResumeError {
    /// No run was kept.
    #[error("no earlier run is kept here; run without --resume, or name a file with --resume=FILE")]
    None,
    /// The file can't be read.
    #[error("can't read {0}: {1}")]
    Unreadable(PathBuf, io::Error),
    /// The file holds something else.
    #[error("{0} is not a file of results that this version of busy can resume: {1}")]
    NotResults(PathBuf, serde_json::Error),
    /// It was measured on another machine, whose figures can't be compared.
    #[error("{0} was measured on another machine ({1}); resume it there, or run without --resume")]
    OtherMachine(PathBuf, String),
}

impl Earlier {
    /// Reads `file`, or the latest kept run. Its results must have been measured on the machine `here`.
    ///
    /// # Errors
    /// See [`ResumeError`].
    pub fn read(file: Option<&Path>, here: &Host) -> Result<Self, ResumeError> {
        let path = file.map(Path::to_path_buf).or_else(latest).ok_or(ResumeError::None)?;
        let text = fs::read(&path).map_err(|error| ResumeError::Unreadable(path.clone(), error))?;
        let document: Document =
            serde_json::from_slice(&text).map_err(|error| ResumeError::NotResults(path.clone(), error))?;
        let is_here = |there: &Host| (&there.cpu, there.cores, &there.kernel) == (&here.cpu, here.cores, &here.kernel);
        if let Some(other) = document.results.iter().map(|result| &result.host).find(|there| !is_here(there)) {
            return Err(ResumeError::OtherMachine(path, format!("{}, {}", other.cpu, other.kernel)));
        }
        Ok(Self(document.results))
    }

    /// Removes and returns the result of `experiment` on this very interpreter, for `seconds` and at `hz`, if everything that
    /// can be measured was measured.
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
        let index = self.0.iter().position(|result| {
            result.experiment == experiment
                && result.seconds == seconds
                && result.cases.iter().all(at_this_rate)
                && result.status == Status::Ok
                && of(&result.interpreter) == of(interpreter)
                && !result.missing.values().any(|reason| reason == INTERRUPTED)
        })?;
        Some(self.0.swap_remove(index))
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
