//! The lab's end of the guard.

use super::{
    END_PATIENCE, Ended, Event, GUARD, GUARD_PATIENCE, How, KILL_PATIENCE, Spec, descendants, list, scratch, words,
};
use crate::{interrupt, output};
use rustix::process::{getpid, set_child_subreaper};
use std::cell::Cell;
use std::ffi::OsString;
use std::io::{self, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;
use std::{fs, thread};

/// How often the lab looks up from waiting. It counts its patience in these, not by a clock: while it is itself
/// stopped (Ctrl-Z) it can hear nobody, and what was said meanwhile is still to be read.
const TICK: Duration = Duration::from_millis(50);

/// A program that runs under a guard. Dropping it ends the program and waits until all is gone. One at a time: where the
/// guard is lost, this process ends all that descends from it.
pub struct Guarded {
    guard: Child,
    /// The guard lives as long as this stays open.
    stdin: Option<ChildStdin>,
    events: Receiver<Event>,
    /// How long the guard may still take for its last word.
    patience: Cell<Duration>,
    scratch: OsString,
}

/// What a guarded program wrote, and how it ended.
#[derive(Debug)]
pub struct Output {
    /// Its lines on stdout.
    pub lines: Vec<String>,
    /// Its end.
    pub ended: Ended,
}

/// Why the lab could not see a guarded program through.
#[derive(Debug, thiserror::Error)]
pub enum GuardError {
    /// This command could not be re-executed.
    #[error("can't start the guard process: {0}")]
    NoGuard(#[from] io::Error),
    /// Processes could not be found, nor ended: nothing was started.
    #[error(
        "/proc is {}, but busy needs that of its own PID namespace to end what it starts; mount it (as \
         `unshare --mount-proc` does), or start busy where it is mounted", if .0.is_some() { "of another PID namespace" } else { "not mounted" }
    )]
    ForeignProc(Option<PathBuf>),
    /// The guard is gone without a last word.
    #[error("the guard process was killed; what it guarded has been killed with it")]
    Lost,
    /// The guard lives, but has not told the program's end in time.
    #[error("the guard process did not answer in time (was it stopped?); it was killed, and what it guarded with it")]
    Silent,
    /// Ctrl-C.
    #[error("interrupted")]
    Interrupted,
}

impl Guarded {
    /// Starts a guard, and the program under it.
    ///
    /// # Errors
    /// [`GuardError::NoGuard`], [`GuardError::ForeignProc`]. That the program can't be started is an event.
    pub fn start(spec: &Spec) -> Result<Self, GuardError> {
        // Process ids read there would be those of others.
        let own = fs::read_link("/proc/self").ok();
        if own.as_deref() != Some(Path::new(&std::process::id().to_string())) {
            return Err(GuardError::ForeignProc(own));
        }
        // Should the guard be killed, its orphans come to this process instead of init: see drop.
        set_child_subreaper(Some(getpid())).map_err(io::Error::from)?;
        let mut command = Command::new(std::env::current_exe()?);
        // A group of its own: Ctrl-C at the terminal is for the lab, which then ends the guard.
        command.arg(GUARD).process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut guard = command.spawn()?;
        let mut stdin = guard.stdin.take().expect("piped");
        let line = serde_json::to_string(spec).expect("a spec is plain data");
        // Should the guard be gone already, its missing events say so.
        let _ = writeln!(stdin, "{line}");
        let stdout = BufReader::new(guard.stdout.take().expect("piped"));
        let (sender, events) = channel();
        thread::spawn(move || words::events(stdout).try_for_each(|event| sender.send(event)));
        let time = Duration::try_from_secs_f64(spec.timeout_s).unwrap_or(Duration::MAX);
        let patience = Cell::new(time.saturating_add(GUARD_PATIENCE));
        Ok(Self { guard, stdin: Some(stdin), events, patience, scratch: spec.scratch.clone() })
    }

    /// The next event.
    ///
    /// # Errors
    /// [`GuardError::Lost`] after the last event or without one, [`GuardError::Silent`] long after the program's time is
    /// up, [`GuardError::Interrupted`] at Ctrl-C.
    pub fn next(&self) -> Result<Event, GuardError> {
        while !interrupt::requested() {
            match self.events.recv_timeout(TICK) {
                Ok(event) => return Ok(event),
                Err(RecvTimeoutError::Disconnected) => return Err(GuardError::Lost),
                Err(RecvTimeoutError::Timeout) if self.waits_on() => {}
                Err(RecvTimeoutError::Timeout) => return Err(GuardError::Silent),
            }
        }
        Err(GuardError::Interrupted)
    }

    /// Counts a tick; false if the guard has had its time.
    fn waits_on(&self) -> bool {
        self.patience.set(self.patience.get().saturating_sub(TICK));
        !self.patience.get().is_zero()
    }

    /// Closes the program's stdin.
    pub fn close_stdin(&mut self) {
        if let Some(stdin) = &mut self.stdin {
            // Should the guard be gone, the next event says so.
            let _ = writeln!(stdin, "{}", words::CLOSE_STDIN);
        }
    }

    /// All that the program writes until its end.
    ///
    /// # Errors
    /// As [`Self::next`].
    pub fn output(self) -> Result<Output, GuardError> {
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

impl Drop for Guarded {
    fn drop(&mut self) {
        drop(self.stdin.take());
        // Asked to end all, it needs no more than this.
        self.patience.set(self.patience.get().min(GUARD_PATIENCE));
        let mut survivors = Vec::new();
        // The end of its events is its own end, or near it.
        let tries = loop {
            match self.events.recv_timeout(TICK) {
                Ok(Event::Ended(Ended { how: How::Survived(_, left), .. })) => survivors = left,
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) if self.waits_on() => {}
                Err(RecvTimeoutError::Timeout) => break 1,
                Err(RecvTimeoutError::Disconnected) => break 1000,
            }
        };
        let status = (0..tries).find_map(|_| match self.guard.try_wait() {
            Ok(None) => {
                thread::sleep(Duration::from_millis(1));
                None
            }
            status => status.ok().flatten(),
        });
        if !status.is_some_and(|status| status.success()) {
            // It was killed, or is to be now; what it guarded has come to this process, or comes.
            survivors = descendants::end_all(END_PATIENCE, KILL_PATIENCE).survivors;
            scratch::remove(&self.scratch);
        }
        if !survivors.is_empty() {
            output::note(&format!("warning: these processes can't be killed, and run on: {}", list(&survivors)));
        }
    }
}

impl Output {
    /// The lines, if the program exited with 0.
    ///
    /// # Errors
    /// Why it did not.
    pub fn success(self) -> Result<Vec<String>, String> {
        if self.ended.how == How::Exited(0) { Ok(self.lines) } else { Err(self.ended.to_string()) }
    }
}

impl std::fmt::Display for Ended {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}", self.how)?;
        let mut lines = self.stderr.trim().lines();
        // Programs name the cause last; launchers that found no command (exit code 127) name it first.
        let reporting = if self.how == How::Exited(127) { lines.next() } else { lines.next_back() };
        match reporting {
            Some(line) if !matches!(self.how, How::NotStarted(_)) => {
                let line: String = line.trim().chars().take(200).collect();
                write!(out, "; it said: {line}")
            }
            _ => Ok(()),
        }
    }
}
