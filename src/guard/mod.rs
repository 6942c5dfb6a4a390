//! Runs a program under bounds that hold even if the lab is killed: a time-out, a cap on output, a cap on processes,
//! and no process left behind.
//!
//! ```text
//! lab (lab.rs) ---> guard (keeper.rs) ---> shim (shim.rs) ---> exec (exec.rs), which becomes the program
//!     <--Events----       ^   <--Events----    '--counts, ends, reaps: descendants.rs   |
//!                         '----------------------stdout, stderr-------------------------'
//! ```
//!
//! Guard, shim and exec are this command re-executed. Each speaks to the next in the same words (words.rs): a [`Spec`],
//! perhaps "close-stdin", and at the end of the pipe, whatever the reason, the next ends all that is below it. What
//! comes back are [`Event`]s.
//!
//! - The guard keeps the time and the output. It keeps them also while the lab is stopped (Ctrl-Z).
//! - The shim, as containerd calls the process that stays as a container's parent, keeps the processes: it starts the
//!   program, counts what that starts, reaps orphans, and ends them all when the program ends or the guard asks.
//! - Lab, guard and shim are subreapers (prctl(2)): what one of them leaves when it is killed comes to the one above.
//!   Each waits for the one below no longer than it must, then ends everything below itself. So any two of the three
//!   may be killed, stopped or hung, at the same instant too, and the third still leaves nothing. The shim names itself
//!   so that `pkill busy` spares it.
//! - Only against the loss of all three at once is there no more than the program's parent-death signal, which its own
//!   children don't inherit; a PID namespace would do more, but gives the program other process ids than the lab reads.

mod descendants;
mod exec;
mod keeper;
mod lab;
mod scratch;
mod shim;
mod words;

pub use descendants::Process;
pub use lab::{GuardError, Guarded, Output};

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Duration;

/// The hidden subcommand that makes this command the guard.
const GUARD: &str = "__guard";
/// The hidden subcommand that makes this command the program's parent.
const SHIM: &str = "__shim";
/// The hidden subcommand that makes this command the last step before the program.
const EXEC: &str = "__exec";

/// How long asked processes may take to go before they are killed: what tidies up behind others gets to it, such as
/// multiprocessing's resource tracker (Lib/multiprocessing/resource_tracker.py), which removes their shared memory.
const END_PATIENCE: Duration = Duration::from_secs(1);
/// How long killed processes may take to go; one in an uninterruptible wait can take for ever.
const KILL_PATIENCE: Duration = Duration::from_secs(10);
/// How long the shim may take, once asked, to end all and say so.
const SHIM_PATIENCE: Duration = Duration::from_secs(13);
/// How long the guard may take for its last word: it may have waited for the shim in vain, and then kill itself.
const GUARD_PATIENCE: Duration = Duration::from_secs(27);

/// Does what a re-executed command is for, if that is one of the guard's parts: the first thing that the main function
/// of a program with guards has to ask. Arguments are taken as they come, bytes included.
pub fn reentered(arguments: &[OsString]) -> Option<ExitCode> {
    match arguments.get(1)?.to_str()? {
        GUARD => Some(keeper::main()),
        SHIM => Some(shim::main(&arguments[2..])),
        EXEC => Some(exec::main(&arguments[2..])),
        _ => None,
    }
}

/// What to run, and its bounds.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Spec {
    /// The program, a path or a name on PATH, and its arguments: bytes, which need be no UTF-8.
    pub command: Vec<OsString>,
    /// Variables set on top of the lab's own environment.
    pub env: BTreeMap<String, OsString>,
    /// The working directory; the lab's own if absent. (serde refuses a path that is no UTF-8, but not these.)
    pub dir: Option<OsString>,
    /// Its TMPDIR, which goes with it; see scratch.rs.
    scratch: OsString,
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
            scratch: scratch::name(),
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
    /// Its parent, the shim, was killed or gave no answer, and it was killed with it.
    #[error("its parent process, which busy had set to watch it, was killed or stopped; it was killed, too")]
    Orphaned,
    /// It ended so, but some of its processes could not be ended: those of another user, or in an uninterruptible wait.
    #[error("{0}, and it left what can't be killed: {list}", list = list(.1))]
    Survived(Box<How>, Vec<Process>),
}

fn list(processes: &[Process]) -> String {
    processes.iter().map(Process::to_string).collect::<Vec<_>>().join(", ")
}

fn signal_name(number: i32) -> String {
    match nix::sys::signal::Signal::try_from(number) {
        Ok(signal) => format!("{signal} (signal {number})"),
        // A real-time signal.
        Err(_) => format!("signal {number}"),
    }
}
