//! The supervisor: enforces the time-out and the cap on output, and reports to the lab.

use super::event::{Ended, Event, How};
use super::exec::{NOT_EXECUTABLE, NOT_STARTED};
use super::patience::{END_PATIENCE, KILL_PATIENCE, REAPER_PATIENCE};
use super::protocol::{self, Order};
use super::roles::{REAPER, SUPERVISOR};
use super::spec::Spec;
use super::{descendants, scratch};
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

/// The number of bytes of stderr that are kept, from its end.
const TAIL: usize = 4096;
/// The time to go on reading when all processes are gone: a process outside may have inherited the other end of a pipe.
const READ_PATIENCE: Duration = Duration::from_secs(1);

/// A message from the supervisor's other threads to its main thread.
enum Message {
    Lab(Order),
    Line(String),
    OverCap,
    /// The end of stdout.
    Drained,
    /// The end of stderr, with its last bytes.
    Tail(String),
    Reaper(Event),
    ReaperGone,
}

/// The supervisor's connections and its state.
struct Supervisor {
    lab: Sender<Event>,
    reaper: UnixStream,
    messages: Receiver<Message>,
    lab_gone: bool,
    reaper_gone: bool,
    over_cap: bool,
    drained: bool,
    stderr: Option<String>,
    last_event: Option<Ended>,
}

/// Runs the supervisor: reads a [`Spec`] from stdin and writes [`Event`]s to stdout.
pub fn main() -> ExitCode {
    let mut first = String::new();
    let mut stdin = BufReader::new(io::stdin());
    let spec: Spec =
        match stdin.read_line(&mut first).map_err(io::Error::other).and_then(|_| Ok(serde_json::from_str(&first)?)) {
            Ok(spec) => spec,
            Err(error) => {
                eprintln!("busy {SUPERVISOR}: this internal command is started by busy itself: {error}");
                return ExitCode::from(2);
            }
        };
    let (lab, writer) = spawn_writer();
    let ended = match start(&first) {
        Ok((child, reaper)) => Supervisor::new(&spec, child, reaper, stdin, lab.clone()).supervise(&spec),
        Err(error) => Ended { how: How::NotStarted(error.to_string()), stderr: String::new(), left_behind: 0 },
    };
    let _ = lab.send(Event::Ended(ended));
    drop(lab);
    // A stopped lab reads only once it continues.
    let _ = writer.join();
    ExitCode::SUCCESS
}

/// Starts the reaper.
fn start(spec: &str) -> io::Result<(Child, UnixStream)> {
    // If the reaper is killed, its orphans are reparented to this process.
    set_child_subreaper(Some(getpid()))?;
    let (mut own, reapers) = UnixStream::pair()?;
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(REAPER).arg(std::process::id().to_string()).stdin(OwnedFd::from(reapers));
    // A process group of its own: if this process is stopped and the lab killed, the kernel sends SIGHUP to this process's group.
    let child = command.process_group(0).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    // If the reaper is gone already, the end of its stream shows it.
    let _ = own.write_all(spec.as_bytes());
    Ok((child, own))
}

impl Supervisor {
    fn new(
        spec: &Spec,
        mut child: Child,
        reaper: UnixStream,
        stdin: impl BufRead + Send + 'static,
        lab: Sender<Event>,
    ) -> Self {
        let (sender, messages) = channel();
        spawn_line_reader(child.stdout.take().expect("piped"), spec.max_output, sender.clone());
        spawn_tail_reader(child.stderr.take().expect("piped"), spec.max_output, sender.clone());
        thread::spawn({
            let sender = sender.clone();
            move || protocol::orders(stdin).try_for_each(|order| sender.send(Message::Lab(order)))
        });
        spawn_reaper_reader(&reaper, sender);
        Self {
            lab,
            reaper,
            messages,
            lab_gone: false,
            reaper_gone: false,
            over_cap: false,
            drained: false,
            stderr: None,
            last_event: None,
        }
    }

    /// Waits for the end of the program, or ends it at a bound, and returns how it ended.
    fn supervise(mut self, spec: &Spec) -> Ended {
        let time = Duration::try_from_secs_f64(spec.timeout_s).unwrap_or(Duration::MAX);
        let ended = |this: &Self| this.last_event.is_some() || this.reaper_gone;
        let in_time = self.listen(time, |this| ended(this) || this.over_cap || this.lab_gone);
        let _ = self.reaper.shutdown(Shutdown::Write);
        self.listen(REAPER_PATIENCE, ended);
        // A reaper that was killed or stopped sends nothing. This process then does its work.
        let last_event = self.last_event.take();
        let silent = last_event.is_none();
        let mut ended =
            last_event.unwrap_or_else(|| Ended { how: How::Orphaned, stderr: String::new(), left_behind: 0 });
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
        self.listen(READ_PATIENCE, |this| this.drained && this.stderr.is_some());
        ended.stderr = self.stderr.unwrap_or_default();
        let how = match (how, ended.stderr.strip_prefix(NOT_STARTED)) {
            // Even if the program has ended by itself meanwhile.
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

    /// Handles messages until `enough` returns true. Returns false if `time` runs out first.
    fn listen(&mut self, time: Duration, enough: impl Fn(&Self) -> bool) -> bool {
        let start = Instant::now();
        while !enough(self) {
            let left = time.saturating_sub(start.elapsed());
            if left.is_zero() {
                return false;
            }
            match self.messages.recv_timeout(left) {
                Ok(message) => self.handle(message),
                Err(_) => return false,
            }
        }
        true
    }

    fn handle(&mut self, message: Message) {
        match message {
            // If the lab or the reaper is gone, the end of its stream shows it.
            Message::Line(line) => drop(self.lab.send(Event::Line(line))),
            Message::Lab(Order::CloseStdin) => drop(writeln!(self.reaper, "{}", protocol::CLOSE_STDIN)),
            Message::Lab(Order::End) => self.lab_gone = true,
            Message::OverCap => self.over_cap = true,
            Message::Drained => self.drained = true,
            Message::Tail(stderr) => self.stderr = Some(stderr),
            Message::Reaper(Event::Ended(ended)) => self.last_event = Some(ended),
            Message::Reaper(event) => drop(self.lab.send(event)),
            Message::ReaperGone => self.reaper_gone = true,
        }
    }
}

/// Writes to the lab from a thread of its own: a stopped lab reads nothing, and a full pipe must not delay the time-out.
fn spawn_writer() -> (Sender<Event>, JoinHandle<()>) {
    let (sender, events) = channel();
    let writer = thread::spawn(move || {
        let mut stdout = io::stdout();
        let _ = events.iter().try_for_each(|event| protocol::send(&mut stdout, &event));
    });
    (sender, writer)
}

fn spawn_reaper_reader(reaper: &UnixStream, sender: Sender<Message>) {
    let reaper = reaper.try_clone();
    thread::spawn(move || {
        let events = reaper.into_iter().flat_map(|reaper| protocol::events(BufReader::new(reaper)));
        events.map(Message::Reaper).chain(once(Message::ReaperGone)).try_for_each(|message| sender.send(message))
    });
}

/// Forwards lines until `cap` bytes have been read. Beyond the cap it goes on reading, so that the program
/// does not block on a full pipe while it is being killed.
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

/// Reads to the end and keeps the last bytes only.
fn spawn_tail_reader(mut pipe: impl Read + Send + 'static, cap: u64, sender: Sender<Message>) {
    thread::spawn(move || {
        let (mut tail, mut chunk, mut total) = (Vec::new(), [0; 4096], 0);
        while let Ok(length @ 1..) = pipe.read(&mut chunk) {
            tail.extend_from_slice(&chunk[..length]);
            tail.drain(..tail.len().saturating_sub(TAIL));
            // Sent once only: more messages would pile up in the channel.
            if total <= cap && total + length as u64 > cap {
                let _ = sender.send(Message::OverCap);
            }
            total += length as u64;
        }
        let _ = sender.send(Message::Tail(String::from_utf8_lossy(&tail).into_owned()));
    });
}
