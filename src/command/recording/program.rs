//! Starts a program so that its Pythons log what their threads do with the GIL, and collects the logs while it runs.

use super::bounded_file::BoundedFile;
use super::environment::{FOLDER, LIBBUSY, PRELOAD, preload};
use super::folder::Folder;
use super::recorder::{Recorder, Sampled};
use crate::command::output::note;
use crate::process::Foreground;
use crate::provision::installation::{self, NotInstalled};
use crate::trace::Start;
use busy_core::clock::monotonic_ns;
use rustix::fs::{Access, access};
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::env;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitCode, ExitStatus};
use std::time::{Duration, Instant};

/// The exit codes for a program that was not found, and for one that can't be executed, as in a shell and in env(1).
const NOT_FOUND: u8 = 127;
const NOT_EXECUTABLE: u8 = 126;

/// The reason why a program was not started.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// The library was not found.
    #[error(transparent)]
    NotInstalled(#[from] NotInstalled),
    /// There is no folder for the logs.
    #[error(
        "can't create a folder for the logs, neither in /dev/shm nor in the folder for temporary files (TMPDIR): {0}"
    )]
    Folder(io::Error),
    /// The program can't be executed.
    #[error("can't execute the program: {0}")]
    NotStarted(io::Error),
}

/// How often the logs are read.
#[derive(Debug, Clone, Copy)]
pub struct Intervals {
    /// The time between two readings of the events. A ring has room for 0.1 s of 100,000 releases per second.
    pub collect: Duration,
    /// The time between two looks at the threads that wait, while none was found waiting.
    pub idle: Duration,
    /// The same while a thread waits.
    pub waited_for: Duration,
}

/// A program that runs, with the logs of its Pythons.
pub struct Program {
    foreground: Foreground,
    recorder: Recorder,
    intervals: Intervals,
    collected: Instant,
    looked: Instant,
    /// The time to the next look.
    interval: Duration,
    // Removed after the recorder's last reading.
    _folder: Folder,
}

impl Program {
    /// Starts the program of `command` by `start`. Its recording begins with the block `begin`, has the stacks of `sampled`,
    /// and is written to `file`, if it is kept.
    ///
    /// # Errors
    /// See [`ProgramError`].
    pub fn start(
        command: &mut Command,
        start: impl FnOnce(&mut Command) -> io::Result<Foreground>,
        begin: Start,
        file: Option<BoundedFile>,
        sampled: Sampled,
        intervals: Intervals,
    ) -> Result<Self, ProgramError> {
        let (library, libbusy) = (installation::record_library()?, installation::libbusy()?);
        let folder = Folder::create().map_err(ProgramError::Folder)?;
        command.env(FOLDER, folder.path()).env(LIBBUSY, libbusy).env(PRELOAD, preload(&library, folder.path()));
        let foreground = start(command).map_err(ProgramError::NotStarted)?;
        // Only now, since it overwrites an earlier recording.
        let recorder = Recorder::begin(file, folder.path(), begin, sampled);
        allow_many_descriptors();
        let (now, interval) = (Instant::now(), intervals.idle);
        Ok(Self { foreground, recorder, intervals, collected: now, looked: now, interval, _folder: folder })
    }

    /// Waits until the next reading of the logs is due, one of `others` is readable, a signal arrives, the program ends,
    /// or `until` is reached. Then reads the logs as far as it is due. Returns the program's status if it has ended.
    ///
    /// # Errors
    /// The program's end can't be waited for.
    pub fn step(&mut self, until: Option<Instant>, others: &[BorrowedFd<'_>]) -> io::Result<Option<ExitStatus>> {
        let look = self.looked + self.interval;
        let next = until.map_or(look, |until| look.min(until)).min(self.collected + self.intervals.collect);
        let watched: Vec<BorrowedFd<'_>> = self.recorder.pidfds().chain(others.iter().copied()).collect();
        let status = self.foreground.wait(next.saturating_duration_since(Instant::now()), watched.into_iter())?;
        if self.looked.elapsed() >= self.interval {
            let anybody = self.recorder.look();
            self.interval = if anybody { self.intervals.waited_for } else { self.intervals.idle };
            self.looked = Instant::now();
        }
        // At once if a process has ended: what shows its end stays readable, so that no wait would last until then.
        let is_due = self.collected.elapsed() >= self.intervals.collect || self.recorder.has_ended_process();
        if is_due || status.is_some() {
            self.recorder.collect();
            self.collected = Instant::now();
        }
        Ok(status)
    }

    /// Reads the figures of all threads now.
    pub fn collect_all(&mut self) {
        self.recorder.collect_all();
        self.collected = Instant::now();
    }

    /// Returns the collected logs.
    pub fn recorder(&mut self) -> &mut Recorder {
        &mut self.recorder
    }

    /// Returns the program.
    pub fn foreground(&self) -> &Foreground {
        &self.foreground
    }

    /// Returns the recorder, to end the recording; the program; and what keeps the folder of the logs.
    pub fn into_parts(self) -> (Recorder, Foreground, impl Sized) {
        (self.recorder, self.foreground, self._folder)
    }
}

/// Raises this process's limit on open files, as far as it may: each recorded process takes several. The program has
/// inherited the limit as it was.
fn allow_many_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    // Without it, fewer processes can be recorded.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}

/// Returns the first block of a recording of `command` that begins now.
pub fn begin(command: &[OsString], stall: Duration) -> Start {
    Start {
        busy: env!("CARGO_PKG_VERSION").into(),
        started_at: crate::results::now(),
        monotonic_ns: monotonic_ns(),
        command: command.iter().map(|word| word.to_string_lossy().into_owned()).collect(),
        stall_ns: u64::try_from(stall.as_nanos()).unwrap_or(u64::MAX),
    }
}

/// Checks that execvp(3) would find the program and may execute it, before anything is overwritten.
///
/// # Errors
/// That of execvp, as far as it is known before.
pub fn check_executable(program: &OsStr) -> io::Result<()> {
    let check = |file: &Path| match access(file, Access::EXEC_OK) {
        Ok(()) if !file.is_file() => Err(Errno::ACCESS),
        other => other,
    };
    if program.is_empty() || program.as_bytes().contains(&b'/') {
        return Ok(check(Path::new(program))?);
    }
    // Without PATH, it searches folders of its own.
    let Some(folders) = env::var_os("PATH") else { return Ok(()) };
    let mut error = Errno::NOENT;
    for folder in env::split_paths(&folders) {
        match check(&folder.join(program)) {
            Ok(()) => return Ok(()),
            // A folder further on may have one that can be executed.
            Err(Errno::ACCESS) => error = Errno::ACCESS,
            Err(_) => {}
        }
    }
    Err(error.into())
}

/// Reports that the program can't be executed. Returns the exit code.
pub fn not_started(program: &OsStr, error: &io::Error) -> ExitCode {
    let program = Path::new(program);
    let is_script = program.extension().is_some_and(|ending| ending == "py") && program.is_file();
    let remedy = if is_script {
        format!("; to run the script, name its Python: python3 {}", program.display())
    } else {
        String::new()
    };
    note(&format!("busy: can't execute {}: {error}{remedy}", program.display()));
    ExitCode::from(if error.kind() == io::ErrorKind::NotFound { NOT_FOUND } else { NOT_EXECUTABLE })
}

/// Returns the exit code of a program with that status, as a shell reports it.
pub fn exit_code(status: ExitStatus) -> ExitCode {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    ExitCode::from(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX))
}
