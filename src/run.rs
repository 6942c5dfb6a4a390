//! `busy run`: experiments on interpreters, a table of them, and the JSON kept.

use crate::cli::RunArguments;
use crate::experiments::{self, Conditions, Experiment};
use crate::guard::GuardError;
use crate::measure::Schedule;
use crate::output::OutputError;
use crate::places;
use crate::publish::NewFile;
use crate::results::{Document, Outcome, Status};
use crate::resume::{Earlier, ResumeError};
use crate::session::{Session, SessionError};
use crate::{interrupt, output, table};
use indicatif::ProgressBar;
use std::fs;
use std::num::NonZero;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// The most looks at one row, which are kept until it ends: some 100 MB, and as much in the JSON.
const MOST_LOOKS: u32 = 250_000;

/// Why nothing could be run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// No experiment has that name.
    #[error("there is no experiment {0:?}; `busy list` shows them: {1}")]
    NoExperiment(String, String),
    /// So many looks would fill the memory.
    #[error("expected at most {MOST_LOOKS} looks a row, found {0} s at {1} Hz: shorten -d or lower --hz")]
    Looks(u32, NonZero<u32>),
    /// Something that every measurement needs is not there.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// The guard failed, or Ctrl-C before there was a result.
    #[error(transparent)]
    Guard(#[from] GuardError),
    /// There is nothing to resume.
    #[error(transparent)]
    Resume(#[from] ResumeError),
    /// The results can't be written.
    #[error(transparent)]
    Output(#[from] OutputError),
}

/// Runs what was asked for and shows it.
///
/// # Errors
/// What keeps the whole from running; what goes wrong in one experiment is a result.
pub fn run(arguments: &RunArguments) -> Result<ExitCode, RunError> {
    let chosen = chosen(&arguments.names)?;
    if arguments.seconds * arguments.hz.get() > MOST_LOOKS {
        return Err(RunError::Looks(arguments.seconds, arguments.hz));
    }
    let mut session = Session::open(&arguments.python, arguments.json.as_deref())?;
    session.host.time_reads_per_s = Some(session.libbusy.time_reads_per_second());
    let mut earlier = match &arguments.resume {
        Some(file) => Some(Earlier::read(file.as_deref(), &session.host)?),
        None => None,
    };
    let conditions = Conditions { cores: session.host.cores };
    let schedule = Schedule { seconds: arguments.seconds, hz: arguments.hz };
    let mut document = session.document();
    let progress = ProgressBar::new_spinner();
    progress.enable_steady_tick(Duration::from_millis(250));
    let keep = Keep::new(&document.started_at);
    let mut kept = Err("nothing was measured".into());
    let Session { interpreters, libbusy, scripts, .. } = &session;
    let pairs = interpreters.iter().flat_map(|interpreter| chosen.iter().map(move |&chosen| (interpreter, chosen)));
    for (interpreter, experiment) in pairs {
        if interrupt::requested() {
            break;
        }
        let tell = |case: &str| progress.set_message(format!("{} on {}: {case}", experiment.name, interpreter.title()));
        let taken_over = earlier.as_mut().and_then(|earlier| earlier.take(experiment.name, interpreter, schedule));
        let result =
            taken_over.map_or_else(|| experiment.run(interpreter, libbusy, scripts, schedule, &conditions, &tell), Ok);
        match result {
            Ok(result) if result.cases.is_empty() && interrupt::requested() => break,
            Ok(result) => document.results.push(result),
            Err(GuardError::Interrupted) => break,
            Err(error) => return Err(error.into()),
        }
        // After each, so that whatever ends this run leaves what can be resumed.
        kept = keep.write(&document);
    }
    progress.finish_and_clear();
    let interrupted = interrupt::requested();
    if interrupted {
        let rows: usize = document.results.iter().map(|result| result.cases.len()).sum();
        output::note(&format!("busy: interrupted, with {rows} rows measured"));
    }
    // Nothing is no reason to replace an earlier file.
    if document.results.is_empty() {
        return Ok(ExitCode::from(interrupt::EXIT_CODE));
    }
    session.output.write(&document, || table::render(&document))?;
    for warning in table::warnings(&document) {
        output::note(&warning);
    }
    // The copy is a service; who can't have it has the results all the same.
    match kept {
        Ok(path) if session.output.has_text() => output::say(&format!("Kept as {path}\n"))?,
        Ok(_) => {}
        Err(error) => output::note(&format!("warning: these results are not kept: {error}")),
    }
    Ok(if interrupted { ExitCode::from(interrupt::EXIT_CODE) } else { exit_code(&document) })
}

fn chosen(names: &[String]) -> Result<Vec<&'static Experiment>, RunError> {
    if names.is_empty() {
        return Ok(experiments::ALL.to_vec());
    }
    let unknown = |name: &String| {
        let all = experiments::ALL.iter().map(|experiment| experiment.name).collect::<Vec<_>>().join(", ");
        RunError::NoExperiment(name.clone(), all)
    };
    names.iter().map(|name| experiments::find(name).ok_or_else(|| unknown(name))).collect()
}

/// Where the results of this run are kept.
struct Keep(Result<PathBuf, String>);

impl Keep {
    fn new(began: &str) -> Self {
        // A colon in a file name is a nuisance on the command line.
        let name = format!("{}.json", began.replace(':', "-"));
        Self(places::runs().map(|folder| folder.join(name)).ok_or_else(|| "there is no home folder".into()))
    }

    fn write(&self, document: &Document) -> Result<String, Box<dyn std::error::Error>> {
        let path = self.0.as_ref().map_err(String::as_str)?;
        let folder = path.parent().unwrap_or(path);
        fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        let path = NewFile::open(path)?.publish(&serde_json::to_vec_pretty(document)?)?;
        Ok(path.display().to_string())
    }
}

/// Of several results the worst: 1 before 3 before 0. Skipped alone is no answer.
fn exit_code(document: &Document) -> ExitCode {
    let bad = |result: &crate::results::RunResult| {
        result.status == Status::Failed || result.outcome == Some(Outcome::Unexpected)
    };
    let open = |result: &crate::results::RunResult| result.outcome == Some(Outcome::Inconclusive);
    let results = &document.results;
    ExitCode::from(match () {
        () if results.iter().any(bad) => 1,
        () if results.iter().any(open) || results.iter().all(|result| result.status == Status::Skipped) => 3,
        () => 0,
    })
}
