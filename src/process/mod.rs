//! Runs a program under bounds that hold even if the lab is killed: a time-out, a cap on its output, a cap on the number of its
//! processes, and no process left behind.
//!
//! ```text
//! lab (supervised.rs) ---> supervisor (supervisor.rs) ---> reaper (reaper.rs) ---> exec (exec.rs), which becomes the program
//!     <--Events-----------       ^   <--Events---------      '--counts, ends, reaps: descendants.rs    |
//!                                '------------------------stdout, stderr-------------------------------'
//! ```
//!
//! Supervisor, reaper and exec are this command, re-executed. Each sends the next the same messages (protocol.rs): a
//! [`Spec`] and perhaps "close-stdin". When its pipe ends, for whatever reason, the receiver ends every process below itself. The
//! answers are [`Event`]s.
//!
//! - The supervisor enforces the time-out and the cap on output, also while the lab is stopped (Ctrl-Z).
//! - The reaper is the program's parent: it starts the program, counts its descendants, reaps orphans, and ends all of them when
//!   the program ends or the supervisor asks.
//! - Lab, supervisor and reaper are subreapers (prctl(2)): if one of them is killed, its orphans are reparented to the one above.
//!   Each waits for the one below for a bounded time, then ends everything below itself. So any two of the three may be
//!   killed, stopped or hung, even at the same instant, and the third leaves nothing behind. The reaper has a name of its own,
//!   so that `pkill busy` spares it.
//! - A program under `busy record` is the user's, and has none of these bounds ([`Foreground`]).
//! - If all three are lost at once, only the program's parent-death signal remains, which the program's children do not
//!   inherit. A PID namespace would close that gap, but the program would see other process ids than the lab.

mod batch;
mod cause;
mod descendants;
mod event;
mod exec;
mod foreground;
pub mod interrupt;
mod patience;
mod protocol;
mod reaper;
mod roles;
mod scratch;
mod signals;
mod spec;
mod supervised;
mod supervisor;
mod sweeper;

pub use batch::batch;
pub use descendants::{Process, descendants, parent};
pub use event::{Ended, Event, How};
pub use foreground::Foreground;
pub use spec::Spec;
pub use supervised::{Output, Supervised, SupervisorError};
pub use sweeper::Sweeper;

use roles::{BATCH, EXEC, REAPER, SUPERVISOR, SWEEPER};
use std::ffi::OsString;
use std::process::ExitCode;

/// Runs the role that a re-executed command has, if `arguments` name one. The main function of a program that uses
/// [`Supervised`] must call this first. Arguments may hold any bytes.
pub fn reentered(arguments: &[OsString]) -> Option<ExitCode> {
    match arguments.get(1)?.to_str()? {
        SUPERVISOR => Some(supervisor::main()),
        REAPER => Some(reaper::main(&arguments[2..])),
        EXEC => Some(exec::main(&arguments[2..])),
        BATCH => Some(batch::main(&arguments[2..])),
        SWEEPER => Some(sweeper::main(&arguments[2..])),
        _ => None,
    }
}
