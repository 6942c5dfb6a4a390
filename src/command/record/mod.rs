//! `busy record`: runs a program, and records which threads of its Pythons hold the GIL and which ones wait for it.
//!
//! ```text
//! program (libbusy_record.so) --logs, in a folder of shared memory (folder.rs)--> recorder.rs --blocks--> FILE.busy
//!                                                                    log.rs            '--> trace::Recording --> trace::result
//! FILE.busy, once the program has ended --trace::perfetto--> the files for other viewers (exports.rs)
//! ```

mod exports;
mod folder;
mod log;
mod recorder;
mod usage;
mod watcher;

use super::arguments::RecordArguments;
use super::output::{OutputError, note, print};
use super::report::{ReportError, recording_page};
use crate::measure::host;
use crate::process::Foreground;
use crate::provision::installation::{self, NotInstalled};
use crate::results::{Document, NewFile, now};
use crate::show;
use crate::trace::{self, Block, End, Recording, Start};
use busy_core::clock::monotonic_ns;
use exports::{ExportError, Exports};
use folder::Folder;
use recorder::Recorder;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, Write};
use std::num::NonZero;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, ExitStatus};
use std::time::{Duration, Instant};

/// The time between two readings of the logs. A ring has room for ten times as many events as a busy thread has in it.
const INTERVAL: Duration = Duration::from_millis(10);

/// The time between two looks at the threads that wait, while any does. Otherwise it is half of the shortest stall, or
/// INTERVAL.
const WAITED_FOR: Duration = Duration::from_millis(2);

/// The variable that names the folder to the recorded processes (record/src/lib.rs).
const FOLDER: &str = "BUSY_RECORD_FOLDER";
/// The variable by which the dynamic linker loads the library (ld.so(8)).
const PRELOAD: &str = "LD_PRELOAD";

/// The exit codes for a program that was not found, and for one that can't be executed, as in a shell and in env(1).
const NOT_FOUND: u8 = 127;
const NOT_EXECUTABLE: u8 = 126;

/// The reason why nothing was recorded.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The library was not found.
    #[error(transparent)]
    NotInstalled(#[from] NotInstalled),
    /// The JSON can't be written.
    #[error(transparent)]
    Output(#[from] OutputError),
    /// A file for another viewer can't be written.
    #[error(transparent)]
    Export(#[from] ExportError),
    /// The recording can't be written.
    #[error(
        "can't write the recording {0}: {1}; name a file in an existing folder where you have write permission with -o"
    )]
    File(PathBuf, io::Error),
    /// There is no folder for the logs.
    #[error(
        "can't create a folder for the logs, neither in /dev/shm nor in the folder for temporary files (TMPDIR): {0}"
    )]
    Folder(io::Error),
    /// The state of the machine can't be read.
    #[error("can't read this machine's state from the kernel: {0}")]
    Host(io::Error),
    /// The program's end can't be waited for.
    #[error("can't wait for the program: {0}")]
    Wait(io::Error),
}

/// Runs the program and records it. Returns its exit code.
///
/// # Errors
/// See [`RecordError`]: what prevents the program's start. Whatever fails later is reported on stderr only.
pub fn record(arguments: &RecordArguments) -> Result<ExitCode, RecordError> {
    let library = installation::record_library()?;
    let json = arguments.json.as_deref().map(Json::open).transpose()?;
    let output = arguments.output.clone().unwrap_or_else(|| format!("busy-{}.busy", std::process::id()).into());
    let page = is_page(&output).then(|| NewFile::open(&output)).transpose().map_err(OutputError::from)?;
    // The page is made from the recording, which stays if that fails.
    let path = if page.is_some() { output.with_extension("busy") } else { output.clone() };
    let unwritable = |error| RecordError::File(path.clone(), error);
    let exports = Exports::open(arguments, &path)?;
    let file = File::create(&path).map_err(unwritable)?;
    exports.check(&path, &file)?;
    let folder = Folder::create().map_err(RecordError::Folder)?;
    let load = host::Load::begin().map_err(RecordError::Host)?;
    let (start, start_ns) = start(arguments);
    let mut recorder =
        Recorder::begin(file, folder.path(), start, start_ns, NonZero::new(arguments.rate)).map_err(unwritable)?;

    let mut command = Command::new(&arguments.command[0]);
    command.args(&arguments.command[1..]).env(FOLDER, folder.path()).env(PRELOAD, preload(&library, folder.path()));
    let mut program = match Foreground::start(&mut command) {
        Ok(program) => program,
        Err(error) => {
            let _ = fs::remove_file(&path);
            return Ok(not_started(&arguments.command[0], &error));
        }
    };
    let sampled = Duration::from_secs(1).checked_div(arguments.rate).unwrap_or(INTERVAL);
    let idle = INTERVAL.min(arguments.stall / 2).max(WAITED_FOR).min(sampled);
    let mut interval = idle;
    let mut collected = Instant::now();
    let status = loop {
        let status = program.wait(interval, recorder.processes()).map_err(RecordError::Wait)?;
        interval = if recorder.look() { WAITED_FOR.min(idle) } else { idle };
        if collected.elapsed() >= INTERVAL || status.is_some() {
            recorder.collect();
            collected = Instant::now();
        }
        if let Some(status) = status {
            break status;
        }
    };

    // Without the machine, the recording is complete all the same.
    let machine = load.end().and_then(|load| host::describe(load.others_percent));
    let machine = machine.map_err(|error| note(&format!("busy: {}", RecordError::Host(error)))).ok();
    let end = |at_ns| Block::End(End { at_ns, code: status.code(), signal: status.signal() });
    let (recording, broken) = recorder.end(machine.map(Block::Host), end);
    if let Some(error) = broken {
        note(&format!("busy: {} ends too early, but the figures are complete: {error}", path.display()));
    }
    // Whatever fails from here on, the exit code is the program's.
    if let Err(error) = report(&recording, &output, json) {
        note(&format!("busy: {error}"));
    }
    program.return_signals();
    exports.write(&path);
    if let Some(Err(error)) = page.map(|page| write_page(page, &path, &output)) {
        note(&format!("busy: {error}; the recording is in {}", path.display()));
    }
    Ok(exit_code(status))
}

/// Prints the summary, and writes the JSON if it was requested.
fn report(recording: &Recording, path: &Path, json: Option<Json>) -> Result<(), OutputError> {
    let result = trace::result(recording);
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

/// Writes the page of the recording at `path`, and removes the recording.
fn write_page(page: NewFile, path: &Path, output: &Path) -> Result<(), ReportError> {
    let title = output.file_name().unwrap_or(output.as_os_str()).to_string_lossy();
    page.replace(recording_page(path, &title)?.as_bytes())?;
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

fn start(arguments: &RecordArguments) -> (Start, u64) {
    let monotonic_ns = monotonic_ns();
    let start = Start {
        busy: env!("CARGO_PKG_VERSION").into(),
        started_at: now(),
        monotonic_ns,
        command: arguments.command.iter().map(|word| word.to_string_lossy().into_owned()).collect(),
        stall_ns: u64::try_from(arguments.stall.as_nanos()).unwrap_or(u64::MAX),
    };
    (start, monotonic_ns)
}

/// Returns the value of LD_PRELOAD: `library`, before what it contains already. A path with a blank or a colon can't stand
/// there (ld.so(8)): then a link in `folder` stands for it.
fn preload(library: &Path, folder: &Path) -> OsString {
    let mut path = library.to_path_buf();
    if path.as_os_str().as_bytes().iter().any(|byte| b" :".contains(byte)) {
        let link = folder.join("libbusy_record.so");
        if std::os::unix::fs::symlink(&path, &link).is_ok() {
            path = link;
        }
    }
    let mut value = path.into_os_string();
    if let Some(earlier) = std::env::var_os(PRELOAD).filter(|earlier| !earlier.is_empty()) {
        value.push(":");
        value.push(earlier);
    }
    value
}

fn not_started(program: &OsStr, error: &io::Error) -> ExitCode {
    note(&format!("busy: can't execute {}: {error}", Path::new(program).display()));
    ExitCode::from(if error.kind() == io::ErrorKind::NotFound { NOT_FOUND } else { NOT_EXECUTABLE })
}

/// Returns the exit code of a program with that status, as a shell reports it.
fn exit_code(status: ExitStatus) -> ExitCode {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    ExitCode::from(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX))
}
