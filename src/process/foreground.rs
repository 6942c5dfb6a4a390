//! A program of the user's, run in the foreground: it has this command's streams, terminal, working directory and process
//! group, and its signals. Nothing bounds it.
//!
//! The terminal sends Ctrl-C and Ctrl-\ to the whole process group, and so to the program: here they are ignored. Other
//! signals that are meant for the program are sent to this command, which starts it, and passes them on.
//!
//! A command that uses the terminal itself starts the program in a process group of its own, to which it passes on all of
//! these signals.

use super::signals;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, kill_process, kill_process_group};
use signal_hook::flag;
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// The signals that a program may expect from the user or from the system. SIGCHLD only wakes the wait.
const SIGNALS: [Signal; 7] = [
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGTERM,
    Signal::SIGHUP,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGCHLD,
];

/// A program in the foreground.
pub struct Foreground {
    child: Child,
    signals: SignalFd,
    /// True if the program has a process group of its own.
    is_apart: bool,
    /// Set when signals are this command's again.
    is_over: Arc<AtomicBool>,
}

impl Foreground {
    /// Starts the program. From now on, this command's signals are the program's: none of them ends this command.
    ///
    /// # Errors
    /// Those of [`Command::spawn`].
    pub fn start(command: &mut Command) -> io::Result<Self> {
        Self::begin(command, false)
    }

    /// Starts the program in a process group of its own, which is in the background of the terminal.
    ///
    /// # Errors
    /// Those of [`Command::spawn`].
    pub fn start_apart(command: &mut Command) -> io::Result<Self> {
        Self::begin(command.process_group(0), true)
    }

    fn begin(command: &mut Command, is_apart: bool) -> io::Result<Self> {
        // The program inherits the mask of blocked signals and the ignored ones as they were. Caught signals are not
        // inherited (execve(2)), so here they are caught first, and blocked once the program has started.
        let ignored = signals::ignored();
        let caught = SIGNALS.into_iter().filter(|signal| !ignored.contains(&(*signal as i32)));
        let caught: Vec<_> = caught.map(|signal| (signal, Arc::new(AtomicBool::new(false)))).collect();
        let is_over = Arc::new(AtomicBool::new(false));
        for (signal, has_come) in &caught {
            flag::register_conditional_default(*signal as i32, Arc::clone(&is_over))?;
            flag::register(*signal as i32, Arc::clone(has_come))?;
        }
        // While SIGCHLD is ignored, children leave no status to wait for (wait(2)).
        signals::stop_ignoring(ignored.into_iter().filter(|signal| *signal == Signal::SIGCHLD as i32));
        let child = command.spawn()?;
        let set: SigSet = SIGNALS.into_iter().collect();
        set.thread_block()?;
        let signals = SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
        let program = Self { child, signals, is_apart, is_over };
        for (signal, has_come) in caught {
            if has_come.load(Ordering::Relaxed) {
                program.pass_on(signal as i32, true);
            }
        }
        Ok(program)
    }

    /// Returns the program's process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for up to `time` until the program ends, a signal arrives, or one of `others` is readable. Returns the
    /// program's status if it has ended.
    ///
    /// # Errors
    /// Those of poll(2), none in practice.
    pub fn wait<'a>(
        &mut self,
        time: Duration,
        others: impl Iterator<Item = BorrowedFd<'a>>,
    ) -> io::Result<Option<ExitStatus>> {
        let mut watched = vec![PollFd::new(&self.signals, PollFlags::IN)];
        watched.extend(others.map(|other| PollFd::from_borrowed_fd(other, PollFlags::IN)));
        let time = Timespec { tv_sec: time.as_secs() as i64, tv_nsec: time.subsec_nanos().into() };
        match poll(&mut watched, Some(&time)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        while let Ok(Some(signal)) = self.signals.read_signal() {
            // Sent by a process (kill(2)), and not by the terminal (sigaction(2), si_code).
            let is_sent = signal.ssi_code <= 0;
            self.pass_on(signal.ssi_signo as i32, is_sent);
        }
        self.child.try_wait()
    }

    /// Returns this command's signals to it, once the program has ended: from now on, they end this command.
    pub fn return_signals(&self) {
        while let Ok(Some(_)) = self.signals.read_signal() {}
        self.is_over.store(true, Ordering::Relaxed);
        let set: SigSet = SIGNALS.into_iter().filter(|signal| *signal != Signal::SIGCHLD).collect();
        let _ = set.thread_unblock();
    }

    /// Passes on a signal that this command has received, unless the program gets it by itself.
    fn pass_on(&self, signal: i32, is_sent: bool) {
        let is_for_group = [Signal::SIGINT as i32, Signal::SIGQUIT as i32].contains(&signal);
        let is_news = signal != Signal::SIGCHLD as i32 && (is_sent || self.is_apart || !is_for_group);
        if let Some(signal) = rustix::process::Signal::from_named_raw(signal).filter(|_| is_news) {
            self.send(signal);
        }
    }

    /// Sends the program a signal; also its process group, if it has one of its own. If it has ended, its status follows.
    pub fn send(&self, signal: rustix::process::Signal) {
        let Some(pid) = Pid::from_raw(self.pid() as i32) else { return };
        let _ = if self.is_apart { kill_process_group(pid, signal) } else { kill_process(pid, signal) };
    }
}
