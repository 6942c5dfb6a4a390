//! `busy run`: experiments on interpreters, of this machine or of several hosts, their tables, and a kept copy of the results.

use super::arguments::RunArguments;
use super::hosts::{self, HostsError};
use super::output::{Output, OutputError, note, print};
use super::session::{Session, SessionError};
use crate::experiments::{self, Bench, Experiment};
use crate::measure::{MeasureError, Schedule};
use crate::process::interrupt;
use crate::results::{
    Document, Earlier, Host, Interpreter, NewFile, NewFileError, ResumeError, RunResult, Status, exit_code, now,
    path_text,
};
use crate::show::html::Results;
use crate::show::visible;
use crate::{paths, show};
use indicatif::ProgressBar;
use std::collections::BTreeMap;
use std::fs;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// The largest number of samples of one row. They are kept until the row ends: some 100 MB, and as much in the JSON.
const MOST_SAMPLES: u32 = 250_000;

/// The reason why nothing could be run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// No experiment has that name.
    #[error("there is no experiment {0:?}; `busy list` shows them: {1}")]
    NoExperiment(String, String),
    /// So many samples would fill the memory.
    #[error("expected at most {MOST_SAMPLES} samples per row, found {0} s at {1} Hz; shorten -d or lower --hz")]
    Samples(u32, NonZero<u32>),
    /// Something that every measurement needs is not there.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// The cluster can't be used.
    #[error(transparent)]
    Hosts(#[from] HostsError),
    /// The command was interrupted before there was a result, or a supervisor was lost.
    #[error(transparent)]
    Measure(#[from] MeasureError),
    /// The earlier run can't be resumed.
    #[error(transparent)]
    Resume(#[from] ResumeError),
    /// The results can't be written.
    #[error(transparent)]
    Output(#[from] OutputError),
}

/// Runs the experiments and shows the results.
///
/// # Errors
/// See [`RunError`]. What goes wrong in one experiment is a result.
pub fn run(arguments: &RunArguments) -> Result<ExitCode, RunError> {
    let chosen = chosen(&arguments.names)?;
    if arguments.seconds * arguments.hz.get() > MOST_SAMPLES {
        return Err(RunError::Samples(arguments.seconds, arguments.hz));
    }
    let (document, mut output, kept) = match &arguments.hosts.scheduler {
        Some(scheduler) => on_cluster(arguments, scheduler, &chosen)?,
        None => here(arguments, &chosen)?,
    };
    let interrupted = interrupt::exit_code();
    if interrupted.is_some() {
        let rows: usize = document.results.iter().map(|result| result.cases.len()).sum();
        note(&format!("busy: interrupted, with {rows} {} measured", if rows == 1 { "row" } else { "rows" }));
    }
    // Without results, an earlier file is not replaced.
    if document.results.is_empty() {
        return Ok(ExitCode::from(interrupted.unwrap_or_default()));
    }
    let written = output.write(&document, || show::run(&document));
    for warning in show::warnings(&document) {
        note(&warning);
    }
    // The results have been shown already, so a copy that can't be kept is a warning only.
    match kept {
        Ok(path) if output.has_text() => {
            print(&format!("Kept as {}\n", path.display()))?;
            match write_page(&document, &path) {
                Ok(page) => print(&format!("The page of these results: {}\n", page.display()))?,
                Err(error) => note(&format!("warning: these results have no page: {error}")),
            }
        }
        Ok(_) => {}
        Err(error) => note(&format!("warning: these results are not kept: {error}")),
    }
    written?;
    let code = exit_code(document.results.iter().map(RunResult::row));
    Ok(ExitCode::from(interrupted.unwrap_or(code)))
}

/// The results, their destination, and the file in which they are kept.
type Measured = (Document, Output, Result<PathBuf, Box<dyn std::error::Error>>);

/// Runs the experiments on one worker of each host of the cluster with this scheduler.
fn on_cluster(arguments: &RunArguments, scheduler: &str, chosen: &[&'static Experiment]) -> Result<Measured, RunError> {
    let output = Output::open(arguments.json.as_deref())?;
    let unit = |experiment: &&'static Experiment| {
        let mut options: Vec<String> = ["run", "--json", "-"].map(str::to_owned).into();
        options.extend([
            format!("--duration={}s", arguments.seconds),
            format!("--hz={}", arguments.hz),
            format!("--patience={}s", arguments.patience.as_secs_f64()),
        ]);
        hosts::unit(options, &arguments.python, vec!["--".into(), experiment.name.into()])
    };
    let order =
        hosts::Order { scheduler, timeout: arguments.hosts.host_timeout, units: chosen.iter().map(unit).collect() };
    let blank = |unit: usize| RunResult {
        kind: "run".into(),
        experiment: chosen[unit].name.into(),
        started_at: now(),
        status: Status::Ok,
        reason: None,
        outcome: None,
        headline: None,
        host: Host::default(),
        libbusy: String::new(),
        interpreter: Interpreter::default(),
        seconds: arguments.seconds,
        cases: Vec::new(),
        missing: BTreeMap::new(),
    };
    let keep = Keep::new(paths::runs_on_hosts(), &now());
    let mut kept = Err("nothing was measured".into());
    let document = hosts::on_hosts(&order, blank, |document| kept = keep.write(document))?;
    Ok((document, output, kept))
}

/// Runs the experiments on the interpreters of this machine.
fn here(arguments: &RunArguments, chosen: &[&'static Experiment]) -> Result<Measured, RunError> {
    // Before any interpreter is started, which takes a while.
    let mut earlier = arguments.resume.as_ref().map(|file| Earlier::read(file.as_deref())).transpose()?;
    let mut session = Session::open(&arguments.python, arguments.json.as_deref(), arguments.patience)?;
    session.host.time_reads_per_s = Some(session.libbusy.time_reads_per_second());
    earlier.as_ref().map_or(Ok(()), |earlier| earlier.check_host(&session.host))?;
    let schedule = Schedule { seconds: arguments.seconds, hz: arguments.hz };
    let mut document = Document::new();
    let progress = ProgressBar::new_spinner();
    progress.enable_steady_tick(Duration::from_millis(250));
    let keep = Keep::new(paths::runs(), &document.started_at);
    let mut kept = Err("nothing was measured".into());
    let mut taken_over: Vec<String> = Vec::new();
    let Session { interpreters, libbusy, scripts, host, .. } = &session;
    let bench = Bench { host, libbusy, scripts };
    let pairs = interpreters.iter().flat_map(|interpreter| chosen.iter().map(move |&chosen| (interpreter, chosen)));
    for (interpreter, experiment) in pairs {
        if interrupt::requested() {
            break;
        }
        let report = |case: &str| {
            progress.set_message(visible(&format!("{} on {}: {case}", experiment.name, interpreter.title())))
        };
        let earlier_result = earlier
            .as_mut()
            .and_then(|earlier| earlier.take(experiment.name, interpreter, schedule.seconds, schedule.hz));
        taken_over.extend(earlier_result.as_ref().map(|result| result.started_at.clone()));
        let result = earlier_result.map_or_else(|| experiment.run(interpreter, &bench, schedule, &report), Ok);
        match result {
            Ok(result) if result.cases.is_empty() && interrupt::requested() => break,
            Ok(result) => document.results.push(result),
            Err(error) if error.is_interrupt() => break,
            Err(error) => return Err(error.into()),
        }
        // After each result, so that a run that is killed can be resumed.
        kept = keep.write(&document);
    }
    progress.finish_and_clear();
    if let Some(earlier) = &earlier {
        note(&report_of_resume(earlier, &taken_over, document.results.len()));
    }
    Ok((document, session.output, kept))
}

/// Returns a sentence on the results that were taken over, by the times at which their measurements started.
fn report_of_resume(earlier: &Earlier, taken_over: &[String], all: usize) -> String {
    let path = path_text(earlier.path());
    let measured = all - taken_over.len();
    match (taken_over.iter().min(), taken_over.iter().max()) {
        (Some(first), Some(last)) => {
            let span = if first == last { format!("of {first}") } else { format!("of {first} to {last}") };
            format!("{} of {all} results taken over from {path}, {span}; {measured} measured", taken_over.len())
        }
        _ => format!("no result taken over from {path}; {measured} measured"),
    }
}

fn chosen(names: &[String]) -> Result<Vec<&'static Experiment>, RunError> {
    if names.is_empty() {
        return Ok(experiments::ALL.to_vec());
    }
    let unknown = |name: &String| {
        let all = experiments::ALL.iter().map(|experiment| experiment.name).collect::<Vec<_>>().join(", ");
        RunError::NoExperiment(name.clone(), all)
    };
    let mut chosen: Vec<&'static Experiment> = Vec::new();
    for name in names {
        let experiment = experiments::find(name).ok_or_else(|| unknown(name))?;
        // As interpreters, each once.
        if chosen.iter().all(|known| known.name != experiment.name) {
            chosen.push(experiment);
        }
    }
    Ok(chosen)
}

/// The file in which the results of this run are kept.
struct Keep(Result<PathBuf, String>);

impl Keep {
    fn new(folder: Option<PathBuf>, started_at: &str) -> Self {
        // Without colons, which some shells and tools treat specially in file names.
        let name = format!("{}.json", started_at.replace(':', "-"));
        Self(folder.map(|folder| folder.join(name)).ok_or_else(|| "there is no home folder".into()))
    }

    fn write(&self, document: &Document) -> Result<PathBuf, Box<dyn std::error::Error>> {
        let path = self.0.as_ref().map_err(String::as_str)?;
        let folder = path.parent().unwrap_or(path);
        fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        Ok(NewFile::open(path)?.replace(&serde_json::to_vec_pretty(document)?)?)
    }
}

/// Writes the page of the results that are kept as `kept`, beside them.
fn write_page(document: &Document, kept: &Path) -> Result<PathBuf, NewFileError> {
    let page = NewFile::open(&kept.with_extension("html"))?;
    let results = Results { runs: document.results.iter().collect(), ..Results::default() };
    page.replace(show::html::page("busy run", &results).as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_given_twice_is_run_once_in_the_order_of_the_names() {
        let names = |names: &[&str]| {
            let chosen = chosen(&names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
            chosen.map(|chosen| chosen.iter().map(|experiment| experiment.name).collect::<Vec<_>>())
        };
        assert_eq!(names(&["late-worker", "csp", "late-worker"]).unwrap(), ["late-worker", "csp"]);
        assert_eq!(names(&[]).unwrap().len(), experiments::ALL.len());
        assert!(names(&["csp", "no-such"]).is_err());
    }
}
