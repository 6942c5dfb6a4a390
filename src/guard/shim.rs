//! The program's parent: starts it, counts what it starts, and leaves nothing of it.

use super::descendants::{self, Found};
use super::words::{self, Order};
use super::{END_PATIENCE, EXEC, Ended, Event, GUARD_PATIENCE, How, KILL_PATIENCE, SHIM_PATIENCE, Spec, scratch};
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

/// How often the processes are counted.
const COUNT_EVERY: Duration = Duration::from_millis(100);

enum Message {
    Guard(Order),
    Reaped(u32, WaitStatus),
}

/// The shim of the guard with process id `args[0]`: a socket to the guard as stdin; stdout and stderr are the program's.
pub fn main(args: &[OsString]) -> ExitCode {
    let kept = rustix::stdio::stdin().try_clone_to_owned().map(UnixStream::from).and_then(|guard| keep(guard, args));
    match kept {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("busy {}: this is the lab's shim, it is not run by hand: {error}", super::SHIM);
            ExitCode::from(2)
        }
    }
}

fn keep(mut guard: UnixStream, args: &[OsString]) -> io::Result<()> {
    let mut orders = BufReader::new(guard.try_clone()?);
    let mut spec = String::new();
    orders.read_line(&mut spec)?;
    let spec: Spec = serde_json::from_str(&spec)?;
    let ended = match prepare().and_then(|()| start(&spec)) {
        Ok(child) => {
            // A guard that has gone meanwhile is no reason to leave the program alone.
            let _ = words::tell(&mut guard, &Event::Started(child.id()));
            see_through(&spec, child, orders, args)
        }
        Err(error) => Ended { how: How::NotStarted(error.to_string()), stderr: String::new(), left_behind: 0 },
    };
    words::tell(&mut guard, &Event::Ended(ended))
}

fn prepare() -> io::Result<()> {
    // Who kills every process called busy leaves this one the time to end the program's.
    rustix::thread::set_name(c"guard-shim")?;
    // From here on orphans of the program become children of this process.
    set_child_subreaper(Some(getpid()))?;
    // A program that dies by a signal leaves no core file.
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
    // Many that fork all the time leave others little of the processor: these threads come first, if they may (sched(7)).
    // The program does not inherit it, it is there already.
    let first = ThreadSchedulePolicy::Realtime(RealtimeThreadSchedulePolicy::Fifo);
    let _ = set_thread_priority_and_policy(thread_native_id(), ThreadPriority::Min, first);
    let (sender, messages) = channel();
    let (pid, stdin) = (child.id(), child.stdin.take());
    thread::spawn({
        let sender = sender.clone();
        move || words::orders(orders).try_for_each(|order| sender.send(Message::Guard(order)))
    });
    spawn_reaper(sender);
    let how = watch(spec, pid, stdin, &messages, args);
    // What already has more than it may is not asked first.
    let asked = if matches!(how, How::TooManyProcesses(_)) { Duration::ZERO } else { END_PATIENCE };
    let Found { count, survivors } = descendants::end_all(asked, KILL_PATIENCE);
    scratch::remove(&spec.scratch);
    // They may have outrun the counting, and the program its children.
    let how = if count > spec.max_processes { How::TooManyProcesses(spec.max_processes) } else { how };
    let how = if survivors.is_empty() { how } else { How::Survived(how.into(), survivors) };
    Ended { how, stderr: String::new(), left_behind: count }
}

/// Until the program ends, or must.
fn watch(spec: &Spec, pid: u32, mut stdin: Option<ChildStdin>, messages: &Receiver<Message>, args: &[OsString]) -> How {
    // The guard keeps the time, and should it be stopped or hung, the lab ends it. This is for a lab that is gone, too.
    let latest = Duration::try_from_secs_f64(spec.timeout_s)
        .ok()
        .and_then(|time| Instant::now().checked_add(time.saturating_add(SHIM_PATIENCE + GUARD_PATIENCE)));
    let mut next_count = Instant::now() + COUNT_EVERY;
    loop {
        match messages.recv_timeout(next_count.saturating_duration_since(Instant::now())) {
            Ok(Message::Guard(Order::CloseStdin)) => drop(stdin.take()),
            Ok(Message::Guard(Order::End)) | Err(RecvTimeoutError::Disconnected) => return How::Stopped,
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
            let guard = getppid().filter(|pid| args.first() == Some(&pid.as_raw_nonzero().to_string().into()));
            let _ = guard.map(|guard| kill_process(guard, Signal::KILL));
            return How::TimedOut(spec.timeout_s);
        }
    }
}

/// Reaps the program and every orphan.
fn spawn_reaper(sender: Sender<Message>) {
    thread::spawn(move || {
        // Fails (ECHILD) when there is no child left.
        while let Ok(found) = wait(WaitOptions::empty()) {
            if let Some((pid, status)) = found {
                let _ = sender.send(Message::Reaped(Pid::as_raw_nonzero(pid).get().unsigned_abs(), status));
            }
        }
    });
}
