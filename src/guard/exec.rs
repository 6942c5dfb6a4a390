//! The last step before the guarded program: in the process that will become it, ties its life to the shim's.
//!
//! It is a step of its own, since only the process itself can ask for a parent-death signal, and doing so between fork
//! and exec would take unsafe code.

use crate::signals;
use rustix::process::{
    Pid, Resource, Rlimit, Signal, getppid, getrlimit, set_parent_process_death_signal, setrlimit, setsid,
};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

/// Exit code for a program that can't be executed, as in a shell.
pub const NOT_EXECUTABLE: u8 = 127;
/// Opens the line on stderr by which the guard tells "could not be started" from a program's own exit 127.
pub const NOT_STARTED: &str = "busy-not-started: ";

/// How many threads more, for each process that it may have, the user may have from now on.
const THREADS_PER_PROCESS: usize = 16;

/// Becomes `args[2..]`, a child of the shim with process id `args[0]`, of which `args[1]` processes may be.
pub fn main(args: &[OsString]) -> ExitCode {
    let [shim, most, program, arguments @ ..] = args else { return ExitCode::from(2) };
    let error = match prepare(shim, most) {
        Ok(()) => Command::new(program).args(arguments).exec(),
        Err(error) => error,
    };
    eprintln!("{NOT_STARTED}{error}");
    ExitCode::from(NOT_EXECUTABLE)
}

fn prepare(shim: &OsStr, most: &OsStr) -> std::io::Result<()> {
    // prctl(2), PR_SET_PDEATHSIG: kept across execve(2), lost at fork(2).
    set_parent_process_death_signal(Some(Signal::KILL))?;
    // The shim may have died before that call: then nobody will send the signal.
    let parent = getppid().map(Pid::as_raw_nonzero).map(|pid| pid.to_string());
    if parent.as_deref() != shim.to_str() {
        return Err(std::io::Error::other("its parent process has gone"));
    }
    // No terminal to disturb, no signal meant for the shim's group; and where the scheduler goes by sessions
    // (sched_autogroup, sched(7)), a share of the processor apart from the shim's.
    setsid()?;
    // What the shell or nohup ignored or blocked would be so for the program, too, and for all that it starts.
    signals::stop_ignoring(signals::ignored());
    signals::unblock_all();
    // A far bound for those that fork faster than they are counted. RLIMIT_NPROC counts all threads of the user, and
    // does not bind root, see getrlimit(2).
    let most = most.to_str().and_then(|most| most.parse::<usize>().ok()).unwrap_or(usize::MAX);
    let now = getrlimit(Resource::Nproc);
    let bound = threads_of_user()?.saturating_add(most.saturating_mul(THREADS_PER_PROCESS)) as u64;
    let bound = Some(now.current.map_or(bound, |current| current.min(bound)));
    setrlimit(Resource::Nproc, Rlimit { current: bound, maximum: now.maximum })?;
    Ok(())
}

/// All threads of this process's user.
fn threads_of_user() -> std::io::Result<usize> {
    let own = fs::metadata("/proc/self")?.uid();
    let processes = fs::read_dir("/proc")?.flatten();
    let processes = processes.filter(|entry| entry.metadata().is_ok_and(|process| process.uid() == own));
    // Each thread is a folder, which links to the one above it.
    let threads =
        processes.filter_map(|process| Some(fs::metadata(process.path().join("task")).ok()?.nlink() as usize));
    Ok(threads.map(|links| links.saturating_sub(2)).sum())
}
