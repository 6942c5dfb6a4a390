//! A process that starts and ends threads on command.

use busy_core::cpu::threads;
use std::io::{BufRead, BufReader, Write, stdin};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use std::{env, fs};

/// The child process. Dropping this value ends it.
pub struct Puppet {
    pub child: Child,
    /// The threads that it always has: the main thread, and the thread that runs the test.
    own: Vec<u32>,
    answers: BufReader<ChildStderr>,
}

impl Puppet {
    /// Starts this test binary again, to run its test `puppet`.
    pub fn start() -> Self {
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["--exact", "puppet", "--ignored", "--nocapture"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let answers = BufReader::new(child.stderr.take().unwrap());
        let mut puppet = Self { child, own: Vec::new(), answers };
        puppet.request("hello");
        puppet.own = threads(puppet.pid()).unwrap().iter().map(|thread| thread.tid).collect();
        puppet
    }

    /// Returns the threads that it always has and `others`, in the order of their ids.
    pub fn threads_and(&self, others: &[u32]) -> Vec<u32> {
        let mut all = [&self.own[..], others].concat();
        all.sort_unstable();
        all
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Starts a thread that sleeps, and returns its id.
    pub fn start_thread(&mut self) -> u32 {
        self.request("start").parse().unwrap()
    }

    /// Starts a thread that spins, and returns its id.
    pub fn start_spinner(&mut self) -> u32 {
        self.request("spin").parse().unwrap()
    }

    /// Ends the oldest of these threads.
    pub fn end_thread(&mut self) {
        self.request("end");
    }

    /// Ends the oldest of these threads and starts another one, in one request.
    pub fn replace_thread(&mut self) -> u32 {
        self.request("replace").parse().unwrap()
    }

    /// Starts and ends threads for a while. The child answers at the end.
    pub fn churn(&mut self) {
        self.send("churn");
    }

    pub fn answer(&mut self) -> String {
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }

    fn request(&mut self, what: &str) -> String {
        self.send(what);
        self.answer()
    }

    fn send(&mut self, what: &str) {
        let stdin = self.child.stdin.as_mut().unwrap();
        writeln!(stdin, "{what}").unwrap();
    }
}

impl Drop for Puppet {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Executes the commands on stdin; this is the body of the test `puppet`. If run by hand, it ends at once.
pub fn obey() {
    let mut threads = Vec::new();
    for line in stdin().lines() {
        let answer = match line.unwrap().as_str() {
            "start" => start(&mut threads, false),
            "spin" => start(&mut threads, true),
            "end" => end(&mut threads),
            "replace" => {
                end(&mut threads);
                start(&mut threads, false)
            }
            "churn" => {
                let start = Instant::now();
                while start.elapsed() < Duration::from_millis(300) {
                    let brief = [(); 4].map(|()| thread::spawn(|| {}));
                    brief.into_iter().for_each(|thread| thread.join().unwrap());
                }
                0
            }
            _ => 0,
        };
        eprintln!("{answer}");
    }
}

type Threads = Vec<(JoinHandle<()>, Sender<()>)>;

fn start(threads: &mut Threads, spin: bool) -> u32 {
    let (leave, left): (Sender<()>, Receiver<()>) = channel();
    let (send_id, id) = channel();
    let body = move || {
        send_id.send(own_tid()).unwrap();
        while spin && left.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty) {}
        let _ = left.recv();
    };
    threads.push((thread::spawn(body), leave));
    id.recv().unwrap()
}

fn end(threads: &mut Threads) -> u32 {
    let (thread, leave) = threads.remove(0);
    drop(leave);
    thread.join().unwrap();
    0
}

/// Returns the calling thread's id, as gettid(2) does.
pub fn own_tid() -> u32 {
    let own = fs::read_link("/proc/thread-self").unwrap();
    own.file_name().unwrap().to_str().unwrap().parse().unwrap()
}

/// Repeats `condition` until it is true. Fails after ten seconds.
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(10), "expected within ten seconds: {what}");
        thread::sleep(Duration::from_millis(1));
    }
}
