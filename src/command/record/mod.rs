//! `busy record`: runs a program, and records which threads of its Pythons hold the GIL and which ones wait for it.
//!
//! ```text
//! program --command::recording--> FILE.busy, trace::Recording --> trace::result
//! FILE.busy, once the program has ended --trace::perfetto--> the files for other viewers (exports.rs)
//! a running process, by samples (sampled.rs, calls.rs) --> the result, and its page
//! ```

mod calls;
mod exports;
mod sampled;

use super::arguments::RecordArguments;
use super::output::{OutputError, note, print};
use super::recording::{
    BoundedFile, Intervals, Program, ProgramError, Sampled, begin, check_executable, exit_code, not_started,
};
use super::report::{ReportError, recording_page, result_page};
use crate::measure::host;
use crate::process::Foreground;
use crate::provision::installation;
use crate::results::{Document, NewFile, RecordResult};
use crate::show;
use crate::trace::{self, Block, End};
use busy_gil::remote::RemoteError;
use exports::{ExportError, Exports};
use std::fs;
use std::io::{self, Write};
use std::num::NonZero;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

/// The time between two readings of the logs. A ring has room for ten times as many events as a busy thread has in it.
const INTERVAL: Duration = Duration::from_millis(10);

/// The time between two looks at the threads that wait, while any does. Otherwise it is half of the shortest stall, or
/// INTERVAL.
const WAITED_FOR: Duration = Duration::from_millis(2);

/// The reason why nothing was recorded.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The program was not started.
    #[error(transparent)]
    Program(#[from] ProgramError),
    /// The process can't be sampled.
    #[error(transparent)]
    Remote(#[from] RemoteError),
    /// The JSON can't be written.
    #[error(transparent)]
    Output(#[from] OutputError),
    /// A file for another viewer can't be written.
    #[error(transparent)]
    Export(#[from] ExportError),
    /// The recording can't be written.
    #[error(
        "can't write the recording {0}: {1}; name another file with -o, in a folder where you have write permission"
    )]
    File(PathBuf, io::Error),
    /// The state of the machine can't be read.
    #[error("can't read this machine's state from the kernel: {0}")]
    Host(io::Error),
    /// Samples make no recording.
    #[error(
        "samples of a running process make no recording, so {0} can't be written: expected -o FILE.html, for the page, or --json FILE"
    )]
    Samples(PathBuf),
    /// The program's end can't be waited for.
    #[error("can't wait for the program: {0}")]
    Wait(io::Error),
}

/// Runs the program and records it. Returns its exit code.
///
/// # Errors
/// See [`RecordError`]: what prevents the program's start. Whatever fails later is reported on stderr only.
pub fn record(arguments: &RecordArguments) -> Result<ExitCode, RecordError> {
    let json = arguments.json.as_deref().map(Json::open).transpose()?;
    if let Some(pid) = arguments.pid {
        return record_samples(pid, arguments, json);
    }
    // Known before an earlier recording is overwritten.
    installation::record_library().and_then(|_| installation::libbusy()).map_err(ProgramError::from)?;
    if let Err(error) = check_executable(&arguments.command[0]) {
        return Ok(not_started(&arguments.command[0], &error));
    }
    let output = arguments.output.clone().unwrap_or_else(|| format!("busy-{}.busy", std::process::id()).into());
    let page = is_page(&output).then(|| NewFile::open(&output)).transpose().map_err(OutputError::from)?;
    // The page is made from the recording, which stays if that fails. Its name is none that the user has given to another.
    let beside = || output.with_extension(format!("{}.busy", std::process::id()));
    let path = if page.is_some() { beside() } else { output.clone() };
    let unwritable = |error| RecordError::File(path.clone(), error);
    let is_new = !path.exists();
    let exports = Exports::open(arguments, &path)?;
    let file = BoundedFile::open(&path).map_err(unwritable)?;
    exports.check(&path, file.file())?;
    let load = host::Load::begin().map_err(RecordError::Host)?;
    let mut command = Command::new(&arguments.command[0]);
    command.args(&arguments.command[1..]);
    let sample = Duration::from_secs(1).checked_div(arguments.rate).unwrap_or(INTERVAL);
    let idle = INTERVAL.min(arguments.stall / 2).max(WAITED_FOR).min(sample);
    let intervals = Intervals { collect: INTERVAL, idle, waited_for: WAITED_FOR.min(idle) };
    let first = begin(&arguments.command, arguments.stall);
    let sampled = Sampled { holders: NonZero::new(arguments.rate), waiters: arguments.waiters };
    let mut program = match Program::start(&mut command, Foreground::start, first, Some(file), sampled, intervals) {
        Ok(program) => program,
        Err(ProgramError::NotStarted(error)) => {
            // Nothing was written, so what has stood there before is whole.
            if is_new {
                let _ = fs::remove_file(&path);
            }
            return Ok(not_started(&arguments.command[0], &error));
        }
        Err(other) => return Err(other.into()),
    };
    let status = loop {
        if let Some(status) = program.step(None, &[]).map_err(RecordError::Wait)? {
            break status;
        }
    };
    let (recorder, program, _folder) = program.into_parts();

    // Without the machine, the recording is complete all the same.
    let machine = load.end().and_then(|load| host::describe(load.others_percent));
    let machine = machine.map_err(|error| note(&format!("busy: {}", RecordError::Host(error)))).ok();
    let end = |at_ns| Block::End(End { at_ns, code: status.code(), signal: status.signal() });
    let ended = recorder.end(machine.map(Block::Host), end);
    if let Some(error) = ended.broken {
        note(&format!("busy: {} ends too early, but the figures are complete: {error}", path.display()));
    }
    if let Some(error) = ended.too_long {
        note(&format!("busy: {} has grown, since its old events could not be merged: {error}", path.display()));
    }
    // Whatever fails from here on, the exit code is the program's.
    if let Err(error) = report(trace::result(&ended.recording), Some(&output), json) {
        note(&format!("busy: {error}"));
    }
    program.return_signals();
    exports.write(&path);
    if let Some(Err(error)) = page.map(|page| write_page(page, &path, &output)) {
        note(&format!("busy: {error}; the recording is in {}", path.display()));
    }
    Ok(exit_code(status))
}

/// Samples a running process.
fn record_samples(pid: u32, arguments: &RecordArguments, json: Option<Json>) -> Result<ExitCode, RecordError> {
    let output = arguments.output.as_deref();
    if let Some(output) = output.filter(|output| !is_page(output)) {
        return Err(RecordError::Samples(output.to_owned()));
    }
    // There are no exports, but two outputs must not be the same file.
    output.map(|output| Exports::open(arguments, output)).transpose()?;
    let page = output.map(NewFile::open).transpose().map_err(OutputError::from)?;
    let load = host::Load::begin().map_err(RecordError::Host)?;
    let result = sampled::sample(pid, arguments.duration)?;
    let machine = load.end().and_then(|load| host::describe(load.others_percent)).map_err(RecordError::Host)?;
    let result = result(machine);
    if let Some((page, output)) = page.zip(output) {
        page.replace(result_page(&result, &title(output)).as_bytes()).map_err(OutputError::from)?;
    }
    report(result, None, json)?;
    Ok(ExitCode::SUCCESS)
}

/// Prints the summary, and writes the JSON if it was requested.
fn report(result: RecordResult, path: Option<&Path>, json: Option<Json>) -> Result<(), OutputError> {
    // To stderr: stdout is the program's. A closed stderr is ignored.
    let _ = anstream::stderr().write_all(show::record(&result, path).as_bytes());
    let Some(json) = json else { return Ok(()) };
    let started_at = result.started_at.clone();
    let document = Document { started_at, results: vec![result], ..Document::new() };
    let text = format!("{}\n", serde_json::to_string_pretty(&document).expect("results are plain data"));
    match json {
        Json::Stdout => print(&text)?,
        Json::File(file) => _ = file.replace(text.as_bytes())?,
    }
    Ok(())
}

/// Returns true if the output is the page, by its ending.
fn is_page(output: &Path) -> bool {
    output.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("html"))
}

/// Returns the title of a page: its file's name.
fn title(page: &Path) -> String {
    page.file_name().unwrap_or(page.as_os_str()).to_string_lossy().into_owned()
}

/// Writes the page of the recording at `path`, and removes the recording.
fn write_page(page: NewFile, path: &Path, output: &Path) -> Result<(), ReportError> {
    page.replace(recording_page(path, &title(output))?.as_bytes())?;
    let _ = fs::remove_file(path);
    Ok(())
}

/// The destination of the JSON.
enum Json {
    /// stdout, after the program's own output.
    Stdout,
    File(NewFile),
}

impl Json {
    fn open(path: &Path) -> Result<Self, OutputError> {
        Ok(if path == Path::new("-") { Self::Stdout } else { Self::File(NewFile::open(path)?) })
    }
}
