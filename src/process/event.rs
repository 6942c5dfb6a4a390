//! What the supervisor reports about a program.

use super::descendants::Process;
use serde::{Deserialize, Serialize};

/// A message from the supervisor to the lab, one JSON object per line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Event {
    /// The program has started, with this process id.
    Started(u32),
    /// A line of its stdout without the line feed; bytes that are not UTF-8 are replaced.
    Line(String),
    /// The program and every descendant are gone. The last event.
    Ended(Ended),
}

/// The end of a supervised program.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ended {
    /// The reason for the end.
    pub how: How,
    /// The last few kilobytes of its stderr.
    pub stderr: String,
    /// The number of descendants that outlived it and were killed.
    pub left_behind: usize,
}

/// The reason why a supervised program ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "kebab-case")]
pub enum How {
    /// It exited by itself.
    #[error("it exited with {0}")]
    Exited(i32),
    /// It was killed by a signal that the supervisor did not send.
    #[error("it was killed by {}", signal_name(*.0))]
    Signalled(i32),
    /// It never ran.
    #[error("it could not be started: {0}")]
    NotStarted(String),
    /// It reached its time-out.
    #[error("it did not end within {0} s and was killed")]
    TimedOut(f64),
    /// It wrote more than its cap.
    #[error("it wrote more than {0} bytes and was killed")]
    TooMuchOutput(u64),
    /// It had more processes than its cap.
    #[error("it had more than {0} processes and was killed")]
    TooManyProcesses(usize),
    /// The lab ended it.
    #[error("it was stopped")]
    Stopped,
    /// Its parent, the reaper, was killed or did not answer, and the program was killed with it.
    #[error("its parent process, which busy had set to watch it, was killed or stopped; it was killed, too")]
    Orphaned,
    /// It ended so, but some of its processes could not be killed: those of another user, or in an uninterruptible wait.
    #[error("{0}, and it left processes that can't be killed: {list}", list = list(.1))]
    Survived(Box<How>, Vec<Process>),
}

pub(super) fn list(processes: &[Process]) -> String {
    processes.iter().map(Process::to_string).collect::<Vec<_>>().join(", ")
}

fn signal_name(number: i32) -> String {
    match nix::sys::signal::Signal::try_from(number) {
        Ok(signal) => format!("{signal} (signal {number})"),
        // A real-time signal.
        Err(_) => format!("signal {number}"),
    }
}
