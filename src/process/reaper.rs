//! The program's parent: starts it, counts and reaps its descendants, and ends all of them.

use super::descendants::{self, Found};
use super::event::{Ended, Event, How};
use super::patience::{END_PATIENCE, KILL_PATIENCE, REAPER_PATIENCE, SUPERVISOR_PATIENCE};
use super::protocol::{self, Order};
use super::roles::{EXEC, REAPER};
use super::scratch;
use super::spec::Spec;
use rustix::process::{
    Pid, Resource, Rlimit, Signal, WaitOptions, WaitStatus, getpid, getppid, kill_process, set_child_subreaper,
    setrlimit, wait,
};
use std::ffi::OsString;
use std::io::{self, BufRead, BufReader};
use std::os::unix::net::UnixStream;
use std::process::{Child, ChildStdin, Command, ExitCode, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};
use thread_priority::{
    RealtimeThreadSchedulePolicy, ThreadPriority, ThreadSchedulePolicy, set_thread_priority_and_policy,
    thread_native_id,
};

/// The interval at which the processes are counted.
const COUNT_EVERY: Duration = Duration::from_millis(100);

enum Message {
    Supervisor(Order),
    Reaped(u32, WaitStatus),
}

/// Runs the reaper of the supervisor with process id `args[0]`. Its stdin is a socket to the supervisor; stdout and stderr are
/// the program's.
pub fn main(args: &[OsString]) -> ExitCode {
    let socket = rustix::stdio::stdin().try_clone_to_owned().map(UnixStream::from);
    match socket.and_then(|supervisor| serve(supervisor, args)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("busy {REAPER}: this internal command is started by busy itself: {error}");
            ExitCode::from(2)
        }
    }
}

fn serve(mut supervisor: UnixStream, args: &[OsString]) -> io::Result<()> {
    let mut orders = BufReader::new(supervisor.try_clone()?);
    let mut spec = String::new();
    orders.read_line(&mut spec)?;
    let spec: Spec = serde_json::from_str(&spec)?;
    let ended = match prepare().and_then(|()| start(&spec)) {
        Ok(child) => {
            // The program is watched to its end even if the supervisor has gone meanwhile.
            let _ = protocol::send(&mut supervisor, &Event::Started(child.id()));
            see_through(&spec, child, orders, args)
        }
        Err(error) => Ended { how: How::NotStarted(error.to_string()), stderr: String::new(), left_behind: 0 },
    };
    protocol::send(&mut supervisor, &Event::Ended(ended))
}

fn prepare() -> io::Result<()> {
    // `pkill busy` spares a process of this name, which can then end the program's processes.
    rustix::thread::set_name(c"reaper")?;
    // From here on, orphans of the program become children of this process.
    set_child_subreaper(Some(getpid()))?;
    // A program that is killed by a signal leaves no core file.
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    Ok(())
}

fn start(spec: &Spec) -> io::Result<Child> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(EXEC).args([std::process::id().to_string(), spec.max_processes.to_string()]);
    command.args(&spec.command);
    if scratch::make(&spec.scratch) {
        command.env(scratch::VARIABLE, &spec.scratch);
    }
    command.envs(&spec.env);
    if let Some(dir) = &spec.dir {
        command.current_dir(dir);
    }
    command.stdin(Stdio::piped()).spawn()
}

fn see_through(spec: &Spec, mut child: Child, orders: impl BufRead + Send + 'static, args: &[OsString]) -> Ended {
    // Programs that fork without end leave little processor time to others: these threads run first, if permitted (sched(7)).
    // The program does not inherit the policy, since it has been started already.
    let realtime = ThreadSchedulePolicy::Realtime(RealtimeThreadSchedulePolicy::Fifo);
    let _ = set_thread_priority_and_policy(thread_native_id(), ThreadPriority::Min, realtime);
    let (sender, messages) = channel();
    let (pid, stdin) = (child.id(), child.stdin.take());
    thread::spawn({
        let sender = sender.clone();
        move || protocol::orders(orders).try_for_each(|order| sender.send(Message::Supervisor(order)))
    });
    spawn_reaper(sender);
    let how = watch(spec, pid, stdin, &messages, args);
    // A program with too many processes is killed without SIGTERM first.
    let term_patience = if matches!(how, How::TooManyProcesses(_)) { Duration::ZERO } else { END_PATIENCE };
    let Found { count, survivors } = descendants::end_all(term_patience, KILL_PATIENCE);
    scratch::remove(&spec.scratch);
    // The cap may have been exceeded between two counts, just before the program's end.
    let how = if count > spec.max_processes { How::TooManyProcesses(spec.max_processes) } else { how };
    let how = if survivors.is_empty() { how } else { How::Survived(how.into(), survivors) };
    Ended { how, stderr: String::new(), left_behind: count }
}

/// Waits until the program ends or has to be ended, and returns the reason.
fn watch(spec: &Spec, pid: u32, mut stdin: Option<ChildStdin>, messages: &Receiver<Message>, args: &[OsString]) -> How {
    // The supervisor enforces the time-out, and if it is stopped or hangs, the lab ends it. This bound is for the case that the lab
    // is gone, too.
    let latest = Duration::try_from_secs_f64(spec.timeout_s)
        .ok()
        .and_then(|time| Instant::now().checked_add(time.saturating_add(REAPER_PATIENCE + SUPERVISOR_PATIENCE)));
    let mut next_count = Instant::now() + COUNT_EVERY;
    loop {
        match messages.recv_timeout(next_count.saturating_duration_since(Instant::now())) {
            Ok(Message::Supervisor(Order::CloseStdin)) => drop(stdin.take()),
            Ok(Message::Supervisor(Order::End)) | Err(RecvTimeoutError::Disconnected) => return How::Stopped,
            Ok(Message::Reaped(ended, status)) if ended == pid => {
                return status
                    .exit_status()
                    .map(How::Exited)
                    .or(status.terminating_signal().map(How::Signalled))
                    .unwrap_or(How::Stopped);
            }
            Ok(Message::Reaped(..)) | Err(RecvTimeoutError::Timeout) => {}
        }
        let now = Instant::now();
        if now >= next_count {
            next_count = now + COUNT_EVERY;
            if descendants::are_more_than(spec.max_processes) {
                return How::TooManyProcesses(spec.max_processes);
            }
        }
        if latest.is_some_and(|latest| now >= latest) {
            let supervisor = getppid().filter(|pid| args.first() == Some(&pid.as_raw_nonzero().to_string().into()));
            let _ = supervisor.map(|supervisor| kill_process(supervisor, Signal::KILL));
            return How::TimedOut(spec.timeout_s);
        }
    }
}

/// Reaps the program and every orphan.
fn spawn_reaper(sender: Sender<Message>) {
    thread::spawn(move || {
        // Fails with ECHILD when no child is left.
        while let Ok(found) = wait(WaitOptions::empty()) {
            if let Some((pid, status)) = found {
                let _ = sender.send(Message::Reaped(Pid::as_raw_nonzero(pid).get().unsigned_abs(), status));
            }
        }
    });
}
