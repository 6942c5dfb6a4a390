//! `busy record`: runs a program, and records which threads of its Pythons hold the GIL and which ones wait for it.

mod figures;
mod sampled;

use super::arguments::RecordArguments;
use super::output::{OutputError, note, print};
use super::recording::{Intervals, Program, ProgramError, begin, exit_code, not_started};
use crate::measure::host;
use crate::process::Foreground;
use crate::results::{Document, Host, NewFile, RecordResult};
use crate::show;
use crate::trace::{Block, End};
use busy_gil::remote::RemoteError;
use std::fs::{self, File};
use std::io::{self, Write};
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
    /// The JSON can't be written.
    #[error(transparent)]
    Output(#[from] OutputError),
    /// The recording can't be written.
    #[error(
        "can't write the recording {0}: {1}; name a file in an existing folder where you have write permission with -o"
    )]
    File(PathBuf, io::Error),
    /// The state of the machine can't be read.
    #[error("can't read this machine's state from the kernel: {0}")]
    Host(io::Error),
    /// The process can't be sampled.
    #[error(transparent)]
    Remote(#[from] RemoteError),
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
        let load = host::Load::begin().map_err(RecordError::Host)?;
        let result = sampled::sample(pid, arguments.duration)?;
        report(result, load, None, json)?;
        return Ok(ExitCode::SUCCESS);
    }
    let path = arguments.output.clone().unwrap_or_else(|| format!("busy-{}.busy", std::process::id()).into());
    let file = || File::create(&path).map(Some);
    let load = host::Load::begin().map_err(RecordError::Host)?;
    let mut command = Command::new(&arguments.command[0]);
    command.args(&arguments.command[1..]);
    let first = begin(&arguments.command, arguments.stall);
    let idle = INTERVAL.min(arguments.stall / 2).max(WAITED_FOR);
    let intervals = Intervals { collect: INTERVAL, idle, waited_for: WAITED_FOR };
    let mut program = match Program::start(&mut command, Foreground::start, first, file, intervals) {
        Ok(program) => program,
        Err(ProgramError::NotStarted(error)) => {
            let _ = fs::remove_file(&path);
            return Ok(not_started(&arguments.command[0], &error));
        }
        Err(ProgramError::File(error)) => return Err(RecordError::File(path, error)),
        Err(other) => return Err(other.into()),
    };
    let status = loop {
        if let Some(status) = program.step(None, &[]).map_err(RecordError::Wait)? {
            break status;
        }
    };
    let (recorder, _folder) = program.into_recorder();

    let end = |at_ns| Block::End(End { at_ns, code: status.code(), signal: status.signal() });
    let (recording, broken) = recorder.end(end);
    if let Some(error) = broken {
        note(&format!("busy: {} ends too early, but the figures are complete: {error}", path.display()));
    }
    // Whatever fails from here on, the exit code is the program's.
    if let Err(error) = report(|host| figures::result(&recording, host), load, Some(&path), json) {
        note(&format!("busy: {error}"));
    }
    Ok(exit_code(status))
}

/// Prints the summary, and writes the JSON if it was requested.
fn report(
    result: impl FnOnce(Host) -> RecordResult,
    load: host::Load,
    path: Option<&Path>,
    json: Option<Json>,
) -> Result<(), RecordError> {
    let others = load.end().map_err(RecordError::Host)?.others_percent;
    let result = result(host::describe(others).map_err(RecordError::Host)?);
    // To stderr: stdout is the program's. A closed stderr is ignored.
    let _ = anstream::stderr().write_all(show::record(&result, path).as_bytes());
    let Some(json) = json else { return Ok(()) };
    let started_at = result.started_at.clone();
    let document = Document { started_at, results: vec![result], ..Document::new() };
    let text = format!("{}\n", serde_json::to_string_pretty(&document).expect("results are plain data"));
    match json {
        Json::Stdout => print(&text)?,
        Json::File(file) => _ = file.replace(text.as_bytes()).map_err(OutputError::from)?,
    }
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
