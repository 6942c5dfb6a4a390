//! The last step before the guarded program: in the process that will become it, ties its life to the shim's.
//!
//! It is a step of its own, since only the process itself can ask for a parent-death signal, and doing so between fork
//! and exec would take unsafe code.

use crate::signals;
use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

/// Exit code for a program that can't be executed, as in a shell.
pub const NOT_EXECUTABLE: u8 = 127;
/// Opens the line on stderr by which the guard tells "could not be started" from a program's own exit 127.
pub const NOT_STARTED: &str = "busy-not-started: ";

/// Becomes `args[1..]`, a child of the shim with process id `args[0]`.
pub fn main(args: &[OsString]) -> ExitCode {
    let [shim, program, arguments @ ..] = args else { return ExitCode::from(2) };
    let error = match prepare(shim) {
        Ok(()) => Command::new(program).args(arguments).exec(),
        Err(error) => error,
    };
    eprintln!("{NOT_STARTED}{error}");
    ExitCode::from(NOT_EXECUTABLE)
}

fn prepare(shim: &OsString) -> std::io::Result<()> {
    // prctl(2), PR_SET_PDEATHSIG: kept across execve(2), lost at fork(2).
    set_parent_process_death_signal(Some(Signal::KILL))?;
    // The shim may have died before that call: then nobody will send the signal.
    let parent = getppid().map(Pid::as_raw_nonzero).map(|pid| pid.to_string());
    if parent.as_deref() != shim.to_str() {
        return Err(std::io::Error::other("its parent process has gone"));
    }
    // What the shell or nohup ignored or blocked would be so for the program, too, and for all that it starts.
    signals::stop_ignoring(signals::ignored());
    signals::unblock_all();
    Ok(())
}
