//! The guard proper: keeps the time and the output, and tells the lab.

use super::exec::{NOT_EXECUTABLE, NOT_STARTED};
use super::words::{self, Order};
use super::{END_PATIENCE, Ended, Event, How, KILL_PATIENCE, SHIM, SHIM_PATIENCE, Spec, descendants, scratch};
use rustix::process::{getpid, set_child_subreaper};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::iter::once;
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How much of stderr is told.
const TAIL: usize = 4096;
/// How long to read on when all is gone: a process outside may have been given the other end of a pipe.
const READ_PATIENCE: Duration = Duration::from_secs(1);

/// What the guard's threads tell its main one.
enum Message {
    Lab(Order),
    Line(String),
    OverCap,
    /// The end of stdout.
    Drained,
    /// The end of stderr, and what was last said.
    Tail(String),
    Shim(Event),
    ShimGone,
}

/// What the guard holds, and what it has learned.
struct Guard {
    lab: Sender<Event>,
    shim: UnixStream,
    messages: Receiver<Message>,
    lab_gone: bool,
    shim_gone: bool,
    over_cap: bool,
    drained: bool,
    stderr: Option<String>,
    last_word: Option<Ended>,
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
    let (lab, writer) = spawn_writer();
    let ended = match start(&first) {
        Ok((child, shim)) => Guard::new(&spec, child, shim, stdin, lab.clone()).keep(&spec),
        Err(error) => Ended { how: How::NotStarted(error.to_string()), stderr: String::new(), left_behind: 0 },
    };
    let _ = lab.send(Event::Ended(ended));
    drop(lab);
    // A stopped lab may take its time to read.
    let _ = writer.join();
    ExitCode::SUCCESS
}

/// Starts the shim.
fn start(spec: &str) -> io::Result<(Child, UnixStream)> {
    // Should the shim be killed, its orphans come to this process.
    set_child_subreaper(Some(getpid()))?;
    let (mut own, shims) = UnixStream::pair()?;
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(SHIM).arg(std::process::id().to_string()).stdin(OwnedFd::from(shims));
    // A group of its own: should this process be stopped and the lab killed, the kernel sends SIGHUP to this one's group.
    let child = command.process_group(0).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    // Should the shim be gone already, the end of its stream says so.
    let _ = own.write_all(spec.as_bytes());
    Ok((child, own))
}

impl Guard {
    fn new(
        spec: &Spec,
        mut child: Child,
        shim: UnixStream,
        stdin: impl BufRead + Send + 'static,
        lab: Sender<Event>,
    ) -> Self {
        let (sender, messages) = channel();
        spawn_line_reader(child.stdout.take().expect("piped"), spec.max_output, sender.clone());
        spawn_tail_reader(child.stderr.take().expect("piped"), spec.max_output, sender.clone());
        thread::spawn({
            let sender = sender.clone();
            move || words::orders(stdin).try_for_each(|order| sender.send(Message::Lab(order)))
        });
        spawn_shim_reader(&shim, sender);
        Self {
            lab,
            shim,
            messages,
            lab_gone: false,
            shim_gone: false,
            over_cap: false,
            drained: false,
            stderr: None,
            last_word: None,
        }
    }

    /// Sees the program through, and all that it starts.
    fn keep(mut self, spec: &Spec) -> Ended {
        let time = Duration::try_from_secs_f64(spec.timeout_s).unwrap_or(Duration::MAX);
        let ended = |guard: &Self| guard.last_word.is_some() || guard.shim_gone;
        let in_time = self.listen(time, |guard| ended(guard) || guard.over_cap || guard.lab_gone);
        let _ = self.shim.shutdown(Shutdown::Write);
        self.listen(SHIM_PATIENCE, ended);
        // A shim that was killed, or stopped, says nothing: then this process does its work.
        let last_word = self.last_word.take();
        let silent = last_word.is_none();
        let mut ended =
            last_word.unwrap_or_else(|| Ended { how: How::Orphaned, stderr: String::new(), left_behind: 0 });
        let (how, survivors) = match ended.how {
            How::Survived(how, survivors) => (*how, survivors),
            how => {
                let found = descendants::end_all(END_PATIENCE, KILL_PATIENCE);
                scratch::remove(&spec.scratch);
                if silent {
                    ended.left_behind = found.count;
                }
                (how, found.survivors)
            }
        };
        self.listen(READ_PATIENCE, |guard| guard.drained && guard.stderr.is_some());
        ended.stderr = self.stderr.unwrap_or_default();
        let how = match (how, ended.stderr.strip_prefix(NOT_STARTED)) {
            // Also if it has ended by itself meanwhile.
            _ if self.over_cap => How::TooMuchOutput(spec.max_output),
            _ if !in_time => How::TimedOut(spec.timeout_s),
            (How::Exited(code), Some(why)) if code == i32::from(NOT_EXECUTABLE) => {
                How::NotStarted(why.trim_end().into())
            }
            (how, _) => how,
        };
        ended.how = if survivors.is_empty() { how } else { How::Survived(how.into(), survivors) };
        ended
    }

    /// Takes in what the threads tell until there is `enough`, or `time` is up: then false.
    fn listen(&mut self, time: Duration, enough: impl Fn(&Self) -> bool) -> bool {
        let start = Instant::now();
        while !enough(self) {
            let left = time.saturating_sub(start.elapsed());
            if left.is_zero() {
                return false;
            }
            match self.messages.recv_timeout(left) {
                Ok(message) => self.take(message),
                Err(_) => return false,
            }
        }
        true
    }

    fn take(&mut self, message: Message) {
        match message {
            // Should the lab have gone, or the shim, the end of its stream says so.
            Message::Line(line) => drop(self.lab.send(Event::Line(line))),
            Message::Lab(Order::CloseStdin) => drop(writeln!(self.shim, "{}", words::CLOSE_STDIN)),
            Message::Lab(Order::End) => self.lab_gone = true,
            Message::OverCap => self.over_cap = true,
            Message::Drained => self.drained = true,
            Message::Tail(stderr) => self.stderr = Some(stderr),
            Message::Shim(Event::Ended(ended)) => self.last_word = Some(ended),
            Message::Shim(event) => drop(self.lab.send(event)),
            Message::ShimGone => self.shim_gone = true,
        }
    }
}

/// Writes to the lab in a thread of its own: a stopped lab reads nothing, and a full pipe must not keep the guard from
/// keeping the time.
fn spawn_writer() -> (Sender<Event>, JoinHandle<()>) {
    let (sender, events) = channel();
    let writer = thread::spawn(move || {
        let mut stdout = io::stdout();
        let _ = events.iter().try_for_each(|event| words::tell(&mut stdout, &event));
    });
    (sender, writer)
}

fn spawn_shim_reader(shim: &UnixStream, sender: Sender<Message>) {
    let shim = shim.try_clone();
    thread::spawn(move || {
        let events = shim.into_iter().flat_map(|shim| words::events(BufReader::new(shim)));
        events.map(Message::Shim).chain(once(Message::ShimGone)).try_for_each(|message| sender.send(message))
    });
}

/// Passes the lines on, none longer than what `cap` leaves. Beyond the cap it goes on reading, so that the program
/// does not hang on a full pipe while it is being killed.
fn spawn_line_reader(pipe: impl Read + Send + 'static, cap: u64, sender: Sender<Message>) {
    thread::spawn(move || {
        let mut reader = BufReader::new(pipe);
        let mut left = cap;
        let mut line = Vec::new();
        while let Ok(1..) = (&mut reader).take(left + 1).read_until(b'\n', &mut line) {
            if line.len() as u64 > left {
                let _ = sender.send(Message::OverCap);
                let _ = io::copy(&mut reader, &mut io::sink());
                break;
            }
            left -= line.len() as u64;
            let text = String::from_utf8_lossy(line.trim_ascii_end()).into_owned();
            let _ = sender.send(Message::Line(text));
            line.clear();
        }
        let _ = sender.send(Message::Drained);
    });
}

/// Keeps the last bytes only.
fn spawn_tail_reader(mut pipe: impl Read + Send + 'static, cap: u64, sender: Sender<Message>) {
    thread::spawn(move || {
        let (mut tail, mut chunk, mut total) = (Vec::new(), [0; 4096], 0);
        while let Ok(length @ 1..) = pipe.read(&mut chunk) {
            tail.extend_from_slice(&chunk[..length]);
            tail.drain(..tail.len().saturating_sub(TAIL));
            // Once: more would be kept waiting in the channel.
            if total <= cap && total + length as u64 > cap {
                let _ = sender.send(Message::OverCap);
            }
            total += length as u64;
        }
        let _ = sender.send(Message::Tail(String::from_utf8_lossy(&tail).into_owned()));
    });
}
