//! The guard itself: starts the program, keeps its bounds, and ends all it started.

use super::shim::{NOT_EXECUTABLE, NOT_STARTED};
use super::{Ended, Event, How, SHIM, Spec, descendants};
use rustix::process::{Pid, WaitOptions, WaitStatus, getpid, set_child_subreaper, wait};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Command, ExitCode, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How often the processes are counted.
const COUNT_EVERY: Duration = Duration::from_millis(100);
/// How long killed processes may take to go; one in an uninterruptible wait can take for ever.
const PATIENCE: Duration = Duration::from_secs(10);
/// How much of stderr is told.
const TAIL: usize = 4096;

/// What the guard's threads tell its main one.
enum Message {
    CloseStdin,
    LabGone,
    Line(String),
    OverCap,
    Reaped(u32, WaitStatus),
    NoChildren,
}

/// The guard: [`Spec`] from stdin, [`Event`]s to stdout.
pub fn main() -> ExitCode {
    let mut first = String::new();
    let mut stdin = BufReader::new(io::stdin());
    let spec: Spec =
        match stdin.read_line(&mut first).map_err(io::Error::other).and_then(|_| Ok(serde_json::from_str(&first)?)) {
            Ok(spec) => spec,
            Err(error) => {
                eprintln!("busy {}: this is the lab's guard, it is not run by hand: {error}", super::GUARD);
                return ExitCode::from(2);
            }
        };
    let (sender, messages) = channel();
    // From here on orphans of the program become children of the guard, not of init.
    let ended = set_child_subreaper(Some(getpid())).map_err(io::Error::from).and_then(|()| start(&spec)).map_or_else(
        |error| Ended { how: How::NotStarted(error.to_string()), stderr: String::new(), left_behind: 0 },
        |child| keep(&spec, child, stdin, sender, &messages),
    );
    tell(&Event::Ended(ended));
    ExitCode::SUCCESS
}

fn start(spec: &Spec) -> io::Result<Child> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(SHIM).arg(std::process::id().to_string()).args(&spec.command).envs(&spec.env);
    if let Some(dir) = &spec.dir {
        command.current_dir(dir);
    }
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()
}

fn keep(
    spec: &Spec,
    mut child: Child,
    stdin: impl BufRead + Send + 'static,
    sender: Sender<Message>,
    messages: &Receiver<Message>,
) -> Ended {
    let pid = child.id();
    let mut child_stdin = child.stdin.take();
    let lines = spawn_line_reader(child.stdout.take().expect("piped"), spec.max_output, sender.clone());
    let tail = spawn_tail_reader(child.stderr.take().expect("piped"), spec.max_output, sender.clone());
    spawn_lab_reader(stdin, sender.clone());
    spawn_reaper(sender);
    tell(&Event::Started(pid));

    let how = watch(spec, pid, &mut child_stdin, messages);
    drop(child_stdin);
    let (left_behind, all_gone) = end_descendants(messages);
    // Once every writer has gone, the readers come to their end.
    let mut stderr = String::new();
    if all_gone {
        let _ = lines.join();
        stderr = tail.join().unwrap_or_default();
    }
    messages.try_iter().for_each(|message| {
        if let Message::Line(line) = message {
            tell(&Event::Line(line));
        }
    });
    let how = match (how, stderr.strip_prefix(NOT_STARTED)) {
        (How::Exited(code), Some(why)) if code == i32::from(NOT_EXECUTABLE) => How::NotStarted(why.trim_end().into()),
        (how, _) => how,
    };
    Ended { how, stderr, left_behind }
}

/// Until the program ends, or must.
fn watch(spec: &Spec, pid: u32, child_stdin: &mut Option<ChildStdin>, messages: &Receiver<Message>) -> How {
    let deadline = Duration::try_from_secs_f64(spec.timeout_s).ok().and_then(|time| Instant::now().checked_add(time));
    let mut next_count = Instant::now() + COUNT_EVERY;
    loop {
        let until = deadline.map_or(next_count, |deadline| deadline.min(next_count));
        match messages.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(Message::Line(line)) => tell(&Event::Line(line)),
            Ok(Message::CloseStdin) => *child_stdin = None,
            Ok(Message::LabGone) | Err(RecvTimeoutError::Disconnected) => return How::Stopped,
            Ok(Message::OverCap) => return How::TooMuchOutput(spec.max_output),
            Ok(Message::Reaped(ended, status)) if ended == pid => {
                return status
                    .exit_status()
                    .map(How::Exited)
                    .or(status.terminating_signal().map(How::Signalled))
                    .unwrap_or(How::Stopped);
            }
            Ok(Message::Reaped(..) | Message::NoChildren) | Err(RecvTimeoutError::Timeout) => {}
        }
        let now = Instant::now();
        if deadline.is_some_and(|deadline| now >= deadline) {
            return How::TimedOut(spec.timeout_s);
        }
        if now >= next_count {
            next_count = now + COUNT_EVERY;
            if descendants::all().len() > spec.max_processes {
                return How::TooManyProcesses(spec.max_processes);
            }
        }
    }
}

/// Kills until there is nobody left to reap; returns how many there were at first, and whether all went in time.
fn end_descendants(messages: &Receiver<Message>) -> (usize, bool) {
    let left_behind = descendants::all().len();
    let give_up = Instant::now() + PATIENCE;
    while Instant::now() < give_up {
        descendants::kill_all();
        match messages.recv_timeout(Duration::from_millis(10)) {
            Ok(Message::NoChildren) => return (left_behind, true),
            Ok(Message::Line(line)) => tell(&Event::Line(line)),
            _ => {}
        }
    }
    (left_behind, false)
}

/// What the lab says after the spec; its end is the end of all.
fn spawn_lab_reader(stdin: impl BufRead + Send + 'static, sender: Sender<Message>) {
    thread::spawn(move || {
        for line in stdin.lines() {
            match line.as_deref() {
                Ok("close-stdin") => drop(sender.send(Message::CloseStdin)),
                _ => break,
            }
        }
        let _ = sender.send(Message::LabGone);
    });
}

/// Passes the lines on, none longer than what `cap` leaves. Beyond the cap it goes on reading, so that the program
/// does not hang on a full pipe while it is being killed.
fn spawn_line_reader(pipe: impl Read + Send + 'static, cap: u64, sender: Sender<Message>) -> JoinHandle<()> {
    thread::spawn(move || {
        let mut reader = BufReader::new(pipe);
        let mut left = cap;
        let mut line = Vec::new();
        while let Ok(1..) = (&mut reader).take(left + 1).read_until(b'\n', &mut line) {
            if line.len() as u64 > left {
                let _ = sender.send(Message::OverCap);
                let _ = io::copy(&mut reader, &mut io::sink());
                return;
            }
            left -= line.len() as u64;
            let text = String::from_utf8_lossy(line.trim_ascii_end()).into_owned();
            let _ = sender.send(Message::Line(text));
            line.clear();
        }
    })
}

/// Keeps the last bytes only.
fn spawn_tail_reader(mut pipe: impl Read + Send + 'static, cap: u64, sender: Sender<Message>) -> JoinHandle<String> {
    thread::spawn(move || {
        let (mut tail, mut chunk, mut total) = (Vec::new(), [0; 4096], 0);
        while let Ok(length @ 1..) = pipe.read(&mut chunk) {
            tail.extend_from_slice(&chunk[..length]);
            tail.drain(..tail.len().saturating_sub(TAIL));
            total += length as u64;
            if total > cap {
                let _ = sender.send(Message::OverCap);
            }
        }
        String::from_utf8_lossy(&tail).into_owned()
    })
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
        let _ = sender.send(Message::NoChildren);
    });
}

/// A lab that has gone hears nothing; that it has gone is told by its pipe.
fn tell(event: &Event) {
    let mut line = serde_json::to_string(event).expect("events are plain data");
    line.push('\n');
    let _ = io::stdout().write_all(line.as_bytes()).and_then(|()| io::stdout().flush());
}
