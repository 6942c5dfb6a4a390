//! The lab's end of the guard.

use super::{Ended, Event, GUARD, How, Spec, descendants};
use crate::interrupt;
use rustix::process::{WaitOptions, getpid, set_child_subreaper, wait};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

/// How long killed processes may take to go.
const PATIENCE: Duration = Duration::from_secs(5);

/// A program that runs under a guard. Dropping it ends the program and waits until all is gone.
pub struct Guarded {
    guard: Child,
    /// The guard lives as long as this stays open.
    stdin: Option<ChildStdin>,
    events: Receiver<Event>,
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
    /// The guard is gone without a last word.
    #[error("the guard process was killed; what it guarded has been killed with it")]
    Lost,
    /// Ctrl-C.
    #[error("interrupted")]
    Interrupted,
}

impl Guarded {
    /// Starts a guard, and the program under it.
    ///
    /// # Errors
    /// [`GuardError::NoGuard`]. That the program can't be started is an event.
    pub fn start(spec: &Spec) -> Result<Self, GuardError> {
        // Should the guard be killed, its orphans come to this process instead of init: see drop.
        set_child_subreaper(Some(getpid())).map_err(io::Error::from)?;
        let mut command = Command::new(std::env::current_exe()?);
        // A group of its own: Ctrl-C at the terminal is for the lab, which then ends the guard.
        command.arg(GUARD).process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut guard = command.spawn()?;
        let mut stdin = guard.stdin.take().expect("piped");
        let spec = serde_json::to_string(spec).expect("a spec is plain data");
        // Should the guard be gone already, its missing events say so.
        let _ = writeln!(stdin, "{spec}");
        let stdout = BufReader::new(guard.stdout.take().expect("piped"));
        let (sender, events) = channel();
        thread::spawn(move || {
            stdout
                .lines()
                .map_while(Result::ok)
                .map_while(|line| serde_json::from_str(&line).ok())
                .try_for_each(|event| sender.send(event))
        });
        Ok(Self { guard, stdin: Some(stdin), events })
    }

    /// The next event.
    ///
    /// # Errors
    /// [`GuardError::Lost`] after the last event or without one, [`GuardError::Interrupted`] at Ctrl-C.
    pub fn next(&self) -> Result<Event, GuardError> {
        while !interrupt::requested() {
            match self.events.recv_timeout(Duration::from_millis(50)) {
                Ok(event) => return Ok(event),
                Err(RecvTimeoutError::Disconnected) => return Err(GuardError::Lost),
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
        Err(GuardError::Interrupted)
    }

    /// Closes the program's stdin.
    pub fn close_stdin(&mut self) {
        if let Some(stdin) = &mut self.stdin {
            // Should the guard be gone, the next event says so.
            let _ = writeln!(stdin, "close-stdin");
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
        if !self.guard.wait().is_ok_and(|status| status.success()) {
            // It was killed, and its orphans have become this process's children: until none is left to reap (ECHILD).
            let give_up = Instant::now() + PATIENCE;
            while wait(WaitOptions::NOHANG).is_ok() && Instant::now() < give_up {
                descendants::kill_all();
                thread::sleep(Duration::from_millis(1));
            }
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
        let telling = if self.how == How::Exited(127) { lines.next() } else { lines.next_back() };
        match telling {
            Some(line) if !matches!(self.how, How::NotStarted(_)) => {
                let line: String = line.trim().chars().take(200).collect();
                write!(out, "; it said: {line}")
            }
            _ => Ok(()),
        }
    }
}
