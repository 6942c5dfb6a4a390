//! The lab's side: starts a supervisor, receives its events, and cleans up if the supervisor is lost.

use super::cause::cause;
use super::event::{Ended, Event, How, list};
use super::patience::{END_PATIENCE, KILL_PATIENCE, SUPERVISOR_PATIENCE};
use super::roles::SUPERVISOR;
use super::spec::Spec;
use super::{descendants, interrupt, protocol, scratch};
use rustix::process::{getpid, set_child_subreaper};
use serde::{Deserialize, Serialize};
use std::cell::Cell;
use std::ffi::OsString;
use std::io::{self, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;
use std::{fs, thread};

/// The longest uninterrupted wait for an event. Patience is counted in these and not by a clock: while the lab is
/// stopped (Ctrl-Z) it receives nothing, and the events sent meanwhile are still to be read.
const TICK: Duration = Duration::from_millis(50);

/// A program that runs under a supervisor. Dropping it ends the program and waits until all its processes are gone. Only one
/// may exist at a time: if the supervisor is lost, this process ends everything that descends from it.
pub struct Supervised {
    supervisor: Child,
    /// The supervisor lives as long as this stays open.
    stdin: Option<ChildStdin>,
    events: Receiver<Event>,
    /// The time that the supervisor still has for its last event.
    patience: Cell<Duration>,
    scratch: OsString,
}

/// The output of a supervised program, and its end.
#[derive(Debug, Serialize, Deserialize)]
pub struct Output {
    /// The lines of its stdout.
    pub lines: Vec<String>,
    /// The way it ended.
    pub ended: Ended,
}

/// The reason why a supervised program has no end to report.
#[derive(Debug, thiserror::Error)]
pub enum SupervisorError {
    /// This command could not be re-executed.
    #[error("can't start the supervisor process: {0}")]
    NotStarted(#[from] io::Error),
    /// Nothing was started, since its processes could be neither found nor ended.
    #[error(
        "/proc is {}, but busy needs that of its own PID namespace to end what it starts; mount it (as \
         `unshare --mount-proc` does), or start busy where it is mounted", if .0.is_some() { "of another PID namespace" } else { "not mounted" }
    )]
    ForeignProc(Option<PathBuf>),
    /// The supervisor is gone without a last event.
    #[error("the supervisor process was killed; the program that it supervised was killed with it")]
    Lost,
    /// The supervisor lives, but did not report the program's end in time.
    #[error(
        "the supervisor process did not answer in time (was it stopped?); it and the program that it supervised were killed"
    )]
    Silent,
    /// Ctrl-C, or SIGTERM or SIGHUP.
    #[error("{}", crate::results::INTERRUPTED)]
    Interrupted,
}

impl Supervised {
    /// Starts a supervisor, and the program under it.
    ///
    /// # Errors
    /// [`SupervisorError::NotStarted`] or [`SupervisorError::ForeignProc`]; [`SupervisorError::Interrupted`] after Ctrl-C. A program that
    /// can't be started is an event, not an error.
    pub fn start(spec: &Spec) -> Result<Self, SupervisorError> {
        if interrupt::requested() {
            return Err(SupervisorError::Interrupted);
        }
        // Otherwise the process ids read there would be those of other processes.
        let own = fs::read_link("/proc/self").ok();
        if own.as_deref() != Some(Path::new(&std::process::id().to_string())) {
            return Err(SupervisorError::ForeignProc(own));
        }
        // If the supervisor is killed, its orphans are reparented to this process instead of init; see drop.
        set_child_subreaper(Some(getpid())).map_err(io::Error::from)?;
        let mut command = Command::new(std::env::current_exe()?);
        // A process group of its own: Ctrl-C at the terminal is for the lab, which then ends the supervisor.
        command.arg(SUPERVISOR).process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut supervisor = command.spawn()?;
        let mut stdin = supervisor.stdin.take().expect("piped");
        let line = serde_json::to_string(spec).expect("a spec is plain data");
        // If the supervisor is gone already, its missing events show it.
        let _ = writeln!(stdin, "{line}");
        let stdout = BufReader::new(supervisor.stdout.take().expect("piped"));
        let (sender, events) = channel();
        thread::spawn(move || protocol::events(stdout).try_for_each(|event| sender.send(event)));
        let time = Duration::try_from_secs_f64(spec.timeout_s).unwrap_or(Duration::MAX);
        let patience = Cell::new(time.saturating_add(SUPERVISOR_PATIENCE));
        Ok(Self { supervisor, stdin: Some(stdin), events, patience, scratch: spec.scratch.clone() })
    }

    /// Waits for the next event.
    ///
    /// # Errors
    /// [`SupervisorError::Lost`] after the last event or without one, [`SupervisorError::Silent`] long after the program's
    /// time-out, [`SupervisorError::Interrupted`] at Ctrl-C.
    pub fn next(&self) -> Result<Event, SupervisorError> {
        while !interrupt::requested() {
            match self.events.recv_timeout(TICK) {
                Ok(event) => return Ok(event),
                Err(RecvTimeoutError::Disconnected) => return Err(SupervisorError::Lost),
                Err(RecvTimeoutError::Timeout) if self.has_patience() => {}
                Err(RecvTimeoutError::Timeout) => return Err(SupervisorError::Silent),
            }
        }
        Err(SupervisorError::Interrupted)
    }

    /// Counts one tick. Returns false once the supervisor has used up its time.
    fn has_patience(&self) -> bool {
        self.patience.set(self.patience.get().saturating_sub(TICK));
        !self.patience.get().is_zero()
    }

    /// Closes the program's stdin.
    pub fn close_stdin(&mut self) {
        if let Some(stdin) = &mut self.stdin {
            // If the supervisor is gone, the next event shows it.
            let _ = writeln!(stdin, "{}", protocol::CLOSE_STDIN);
        }
    }

    /// Waits for the program's end and returns its output.
    ///
    /// # Errors
    /// As [`Self::next`].
    pub fn output(self) -> Result<Output, SupervisorError> {
        let mut lines = Vec::new();
        loop {
            match self.next()? {
                Event::Started(_) => {}
                Event::Line(line) => lines.push(line),
                Event::Ended(ended) => return Ok(Output { lines, ended }),
            }
        }
    }
}

impl Drop for Supervised {
    fn drop(&mut self) {
        drop(self.stdin.take());
        // The supervisor now ends everything, which takes it no longer than this.
        self.patience.set(self.patience.get().min(SUPERVISOR_PATIENCE));
        let mut survivors = Vec::new();
        // The end of its events is its own end, or close to it.
        let tries = loop {
            match self.events.recv_timeout(TICK) {
                Ok(Event::Ended(Ended { how: How::Survived(_, left), .. })) => survivors = left,
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) if self.has_patience() => {}
                Err(RecvTimeoutError::Timeout) => break 1,
                Err(RecvTimeoutError::Disconnected) => break 1000,
            }
        };
        let status = (0..tries).find_map(|_| match self.supervisor.try_wait() {
            Ok(None) => {
                thread::sleep(Duration::from_millis(1));
                None
            }
            status => status.ok().flatten(),
        });
        if !status.is_some_and(|status| status.success()) {
            // It was killed, or is killed now. The processes that it supervised are reparented to this process.
            survivors = descendants::end_all(END_PATIENCE, KILL_PATIENCE).survivors;
            scratch::remove(&self.scratch);
        }
        if !survivors.is_empty() {
            let _ = writeln!(
                io::stderr(),
                "warning: these processes can't be killed and go on running: {}",
                list(&survivors)
            );
        }
    }
}

impl Output {
    /// Returns the lines if the program exited with 0.
    ///
    /// # Errors
    /// The way it ended instead.
    pub fn success(self) -> Result<Vec<String>, String> {
        if self.ended.how == How::Exited(0) { Ok(self.lines) } else { Err(self.ended.to_string()) }
    }
}

impl std::fmt::Display for Ended {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}{}", self.how, self.stderr_cause())
    }
}

impl Ended {
    /// Returns the way it ended, with what the program was doing then ("during the setup"), and the cause on stderr.
    pub fn during(&self, phase: &str) -> String {
        format!("{}, {phase}{}", self.how, self.stderr_cause())
    }

    fn stderr_cause(&self) -> String {
        match cause(&self.stderr, self.how == How::Exited(127)) {
            Some(line) if !matches!(self.how, How::NotStarted(_)) => format!("; stderr: {line}"),
            _ => String::new(),
        }
    }
}
