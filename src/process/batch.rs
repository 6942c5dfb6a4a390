//! Several programs under one supervisor: a role of this command that runs each of them with the same arguments, as many at
//! once as there are cores, and reports each output.
//!
//! A supervisor of its own for each program would cost three more processes a program, which counts where a machine has a dozen
//! interpreters that only have to report their versions.

use super::event::{Ended, How};
use super::roles::BATCH;
use super::spec::Spec;
use super::supervised::{Output, Supervised, SupervisorError};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use serde::{Deserialize, Serialize};
use std::ffi::{OsStr, OsString};
use std::io::{self, Read, Write};
use std::iter::repeat_with;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

/// The cap on the output of each program, in bytes.
const MAX_OUTPUT: u64 = 1 << 20;
/// The time to go on reading after a program's end: one of its children may still hold the pipe.
const READ_PATIENCE: Duration = Duration::from_millis(500);
/// The interval at which the state of a running program is read.
const POLL: Duration = Duration::from_millis(1);

/// One line of the role's output.
#[derive(Serialize, Deserialize)]
struct Report {
    /// The program, by its place in the list.
    index: usize,
    output: Output,
}

/// Runs each of `programs` with `arguments` and `variables`, for at most `timeout_s` each, and returns their outputs in the same order. An
/// output is None if the whole batch had to be ended before that program was, for the sake of another one.
///
/// # Errors
/// The lab was interrupted, or the supervisor was lost.
pub fn batch(
    programs: &[PathBuf],
    arguments: &[&OsStr],
    variables: &[(&str, &str)],
    timeout_s: f64,
) -> Result<Vec<Option<Output>>, SupervisorError> {
    let mut command: Vec<OsString> = vec![std::env::current_exe()?.into(), BATCH.into(), timeout_s.to_string().into()];
    command.push(arguments.len().to_string().into());
    command.extend(arguments.iter().map(|argument| (*argument).to_owned()));
    command.extend(programs.iter().map(|program| program.clone().into_os_string()));
    let mut spec = Spec::new(command, timeout_s * programs.len() as f64 + 5.0);
    spec.max_output = 2 * MAX_OUTPUT * (1 + programs.len() as u64);
    spec.env.extend(variables.iter().map(|(name, value)| ((*name).to_owned(), value.into())));
    let mut outputs: Vec<Option<Output>> = repeat_with(|| None).take(programs.len()).collect();
    for line in Supervised::start(&spec)?.output()?.lines {
        if let Ok(Report { index, output }) = serde_json::from_str(&line)
            && let Some(place) = outputs.get_mut(index)
        {
            *place = Some(output);
        }
    }
    Ok(outputs)
}

/// Runs the role: `TIMEOUT_S COUNT ARGUMENTS... PROGRAMS...`, with COUNT arguments.
pub(super) fn main(args: &[OsString]) -> ExitCode {
    let number = |place: usize| args.get(place).and_then(|word| word.to_str());
    let (Some(timeout), Some(count)) =
        (number(0).and_then(|word| word.parse::<f64>().ok()), number(1).and_then(|word| word.parse::<usize>().ok()))
    else {
        return ExitCode::from(2);
    };
    let Some((arguments, programs)) = args[2..].split_at_checked(count) else { return ExitCode::from(2) };
    let timeout = Duration::try_from_secs_f64(timeout).unwrap_or(Duration::MAX);
    let queue = Mutex::new(programs.iter().enumerate());
    let workers = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let next = queue.lock().expect("no worker panics").next();
                    let Some((index, program)) = next else { break };
                    let report = Report { index, output: run(program, arguments, timeout) };
                    let line = serde_json::to_string(&report).expect("a report is plain data");
                    // If the lab is gone, the reaper ends this process.
                    let _ = writeln!(io::stdout().lock(), "{line}");
                }
            });
        }
    });
    ExitCode::SUCCESS
}

fn run(program: &OsStr, arguments: &[OsString], timeout: Duration) -> Output {
    let mut command = Command::new(program);
    command.args(arguments).process_group(0).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => return ended(Vec::new(), How::NotStarted(error.to_string()), &[]),
    };
    let stdout = read(child.stdout.take().expect("piped"));
    let stderr = read(child.stderr.take().expect("piped"));
    let how = wait(child, timeout);
    let [stdout, stderr] = [stdout, stderr].map(|bytes| bytes.recv_timeout(READ_PATIENCE).unwrap_or_default());
    let is_over = |bytes: &[u8]| bytes.len() as u64 > MAX_OUTPUT;
    let how = if is_over(&stdout) || is_over(&stderr) { How::TooMuchOutput(MAX_OUTPUT) } else { how };
    let lines = stdout.split(|byte| *byte == b'\n').map(|line| String::from_utf8_lossy(line).into_owned());
    ended(lines.collect(), how, &stderr)
}

fn ended(lines: Vec<String>, how: How, stderr: &[u8]) -> Output {
    let stderr = String::from_utf8_lossy(&stderr[stderr.len().saturating_sub(4096)..]).into_owned();
    Output { lines, ended: Ended { how, stderr, left_behind: 0 } }
}

/// Waits for the child's end or the time-out, and kills its process group. Processes that have left the group are the reaper's.
fn wait(mut child: Child, timeout: Duration) -> How {
    let start = Instant::now();
    let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) else { return How::Stopped };
    // WNOWAIT leaves the child a zombie, so that its id, and its group's, can't be reused before the group is killed.
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
    let has_ended = || !matches!(waitid(WaitId::Pid(pid), options), Ok(None));
    let mut in_time = true;
    while in_time && !has_ended() {
        thread::sleep(POLL);
        in_time = start.elapsed() < timeout;
    }
    let _ = kill_process_group(pid, Signal::KILL);
    match child.wait() {
        _ if !in_time => How::TimedOut(timeout.as_secs_f64()),
        Ok(status) => {
            let signalled = status.signal().map(How::Signalled);
            status.code().map(How::Exited).or(signalled).unwrap_or(How::Stopped)
        }
        Err(error) => How::NotStarted(error.to_string()),
    }
}

/// Reads up to a little more than the cap, in a thread of its own. Then it closes the pipe, so that a program that writes on
/// is ended by SIGPIPE.
fn read(pipe: impl Read + Send + 'static) -> Receiver<Vec<u8>> {
    let (sender, bytes) = channel();
    thread::spawn(move || {
        let mut all = Vec::new();
        let _ = pipe.take(MAX_OUTPUT + 1).read_to_end(&mut all);
        sender.send(all)
    });
    bytes
}
