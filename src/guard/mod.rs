//! Runs a program under bounds that hold even if the lab is killed: a time-out, a cap on output, a cap on processes,
//! and no process left behind.
//!
//! The bounds are kept by a process of their own, the guard: this command re-executed. The lab writes it a [`Spec`],
//! then reads [`Event`]s. The guard lives exactly as long as the pipe from the lab does: at its end, whatever the
//! reason, it ends every descendant, then itself.
//!
//! ```text
//! lab (lab.rs) --Spec, "close-stdin"--> guard (keeper.rs) --starts--> shim (shim.rs) --execs--> the program
//!     <------------Events------------------'  '--ends--> descendants (descendants.rs)
//! ```

mod descendants;
mod keeper;
mod lab;
mod shim;

pub use keeper::main as guard_main;
pub use lab::{GuardError, Guarded, Output};
pub use shim::main as shim_main;

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ffi::OsString;

/// The hidden subcommand that makes this command the guard.
pub const GUARD: &str = "__guard";
/// The hidden subcommand that makes this command the last step before the guarded program.
pub const SHIM: &str = "__shim";

/// What to run, and its bounds.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Spec {
    /// The program, a path or a name on PATH, and its arguments: bytes, which need be no UTF-8.
    pub command: Vec<OsString>,
    /// Variables set on top of the lab's own environment.
    pub env: BTreeMap<String, OsString>,
    /// The working directory; the lab's own if absent. (serde refuses a path that is no UTF-8, but not these.)
    pub dir: Option<OsString>,
    /// After so many seconds it is ended.
    pub timeout_s: f64,
    /// More bytes than these on stdout or on stderr end it.
    pub max_output: u64,
    /// More processes than these, itself counted, end it.
    pub max_processes: usize,
}

impl Spec {
    /// `command` with the bounds that suit a program which prints a little and starts nothing.
    pub fn new(command: impl IntoIterator<Item = impl Into<OsString>>, timeout_s: f64) -> Self {
        Self {
            command: command.into_iter().map(Into::into).collect(),
            env: BTreeMap::new(),
            dir: None,
            timeout_s,
            max_output: 1 << 20,
            max_processes: 64,
        }
    }
}

/// What the guard tells the lab, one JSON object a line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Event {
    /// The program runs, as this process.
    Started(u32),
    /// A line that it wrote to stdout, without its end; bytes that are no UTF-8 are replaced.
    Line(String),
    /// It and every descendant are gone. The last event.
    Ended(Ended),
}

/// How a guarded program came to its end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ended {
    /// Why it ended.
    pub how: How,
    /// The last few kilobytes of its stderr.
    pub stderr: String,
    /// Descendants that were still there when it ended, and were killed.
    pub left_behind: usize,
}

/// Why a guarded program ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "kebab-case")]
pub enum How {
    /// By itself.
    #[error("it exited with {0}")]
    Exited(i32),
    /// By a signal that was not the guard's.
    #[error("it was killed by {}", signal_name(*.0))]
    Signalled(i32),
    /// It never ran.
    #[error("it could not be started: {0}")]
    NotStarted(String),
    /// Its time was up.
    #[error("it did not end within {0} s and was killed")]
    TimedOut(f64),
    /// It wrote more than its cap.
    #[error("it wrote more than {0} bytes and was killed")]
    TooMuchOutput(u64),
    /// It had more processes than its cap.
    #[error("it had more than {0} processes and was killed")]
    TooManyProcesses(usize),
    /// The lab asked for it.
    #[error("it was stopped")]
    Stopped,
}

fn signal_name(number: i32) -> String {
    match rustix::process::Signal::from_named_raw(number) {
        Some(signal) => format!("{signal:?} (signal {number})"),
        None => format!("signal {number}"),
    }
}
