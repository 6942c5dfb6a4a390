//! The last step before the supervised program. It runs in the process that becomes the program, and ties that process's life to
//! the reaper's.
//!
//! It is a step of its own, since only the process itself can request a parent-death signal, and doing so between fork
//! and exec would need unsafe code.

use super::signals;
use rustix::process::{
    Pid, Resource, Rlimit, Signal, getppid, getrlimit, set_parent_process_death_signal, setrlimit, setsid,
};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

/// The exit code for a program that can't be executed, as in a shell.
pub const NOT_EXECUTABLE: u8 = 127;
/// The start of the line on stderr by which the supervisor distinguishes "could not be started" from a program's own exit 127.
pub const NOT_STARTED: &str = "busy-not-started: ";

/// The number of threads that RLIMIT_NPROC leaves to the user for each process that the program may have.
const THREADS_PER_PROCESS: usize = 16;

/// Becomes the program `args[2..]`, a child of the reaper with process id `args[0]`, with at most `args[1]` processes.
pub fn main(args: &[OsString]) -> ExitCode {
    let [reaper, most, program, arguments @ ..] = args else { return ExitCode::from(2) };
    let error = match prepare(reaper, most) {
        Ok(()) => Command::new(program).args(arguments).exec(),
        Err(error) => error,
    };
    eprintln!("{NOT_STARTED}{error}");
    ExitCode::from(NOT_EXECUTABLE)
}

fn prepare(reaper: &OsStr, most: &OsStr) -> std::io::Result<()> {
    // prctl(2), PR_SET_PDEATHSIG: kept across execve(2), lost at fork(2).
    set_parent_process_death_signal(Some(Signal::KILL))?;
    // If the reaper died before that call, no signal will be sent.
    let parent = getppid().map(Pid::as_raw_nonzero).map(|pid| pid.to_string());
    if parent.as_deref() != reaper.to_str() {
        return Err(std::io::Error::other("its parent process is gone"));
    }
    // The program gets no controlling terminal and no signal meant for the reaper's process group. Where the scheduler groups by
    // session (sched_autogroup, sched(7)), it also gets a share of the processor apart from the reaper's.
    setsid()?;
    // Otherwise signals that the shell or nohup ignored or blocked would stay so for the program and all that it starts.
    signals::stop_ignoring(signals::ignored());
    signals::unblock_all();
    // A generous bound for programs that fork faster than they are counted. RLIMIT_NPROC counts all threads of the user
    // and does not bind root (getrlimit(2)).
    let most = most.to_str().and_then(|most| most.parse::<usize>().ok()).unwrap_or(usize::MAX);
    let now = getrlimit(Resource::Nproc);
    let bound = threads_of_user()?.saturating_add(most.saturating_mul(THREADS_PER_PROCESS)) as u64;
    let bound = Some(now.current.map_or(bound, |current| current.min(bound)));
    setrlimit(Resource::Nproc, Rlimit { current: bound, maximum: now.maximum })?;
    Ok(())
}

/// Counts the threads of this process's user.
fn threads_of_user() -> std::io::Result<usize> {
    let own = fs::metadata("/proc/self")?.uid();
    let processes = fs::read_dir("/proc")?.flatten();
    let processes = processes.filter(|entry| entry.metadata().is_ok_and(|process| process.uid() == own));
    // The link count of `task` is 2 plus one for each thread, whose folder has a `..`.
    let threads =
        processes.filter_map(|process| Some(fs::metadata(process.path().join("task")).ok()?.nlink() as usize));
    Ok(threads.map(|links| links.saturating_sub(2)).sum())
}
