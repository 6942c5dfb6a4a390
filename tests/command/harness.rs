//! Runs the command with a home folder of its own, and finds every process that descends from it.

use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::thread::{sleep, spawn};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The path of the command.
pub const BUSY: &str = env!("CARGO_BIN_EXE_busy");
/// The variable that marks every process of a sandbox. Child processes inherit it.
const MARK: &str = "BUSY_TEST_MARK";

/// An environment to run the command in: an empty home folder, and a mark that all its processes inherit.
pub struct Sandbox {
    pub home: TempDir,
    mark: String,
}

impl Sandbox {
    pub fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let mark = format!("{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        Self { home: tempfile::tempdir().unwrap(), mark }
    }

    /// Returns the command with `arguments`.
    pub fn command(&self, arguments: &[&str]) -> Command {
        self.command_under(&[], arguments)
    }

    /// Returns the command with `arguments`, started by `wrapper` (env, unshare, ...).
    pub fn command_under(&self, wrapper: &[&str], arguments: &[&str]) -> Command {
        // Few tests need a quiet machine, for which the command would wait beside other tests in vain.
        let is_patient = arguments.iter().any(|argument| argument.starts_with("--patience"));
        let arguments = match arguments {
            [name @ ("run" | "check"), rest @ ..] if !is_patient => [&[name, "--patience=0"], rest].concat(),
            other => other.to_vec(),
        };
        let words = [wrapper, &[BUSY], &arguments].concat();
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).env("HOME", self.home.path()).env(MARK, &self.mark);
        for variable in ["XDG_CACHE_HOME", "XDG_STATE_HOME", "BUSY_LIBDIR", "CC", "VIRTUAL_ENV", "COLUMNS"] {
            command.env_remove(variable);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    pub fn spawn(&self, arguments: &[&str]) -> Child {
        self.command(arguments).spawn().unwrap()
    }

    /// Returns the path of `name` in the home folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// Writes an "interpreter" that runs `body` as a shell script, and returns its path. If the first argument is -c,
    /// as in the lab's query, it executes the real interpreter instead.
    pub fn fake_interpreter(&self, body: &str) -> String {
        let real = real_python();
        self.executable("python", &format!("#!/bin/sh\nif [ \"$1\" = -c ]; then exec {real} \"$@\"; fi\n{body}\n"))
    }

    /// Writes `text` to the executable file `name`, and returns its path.
    pub fn executable(&self, name: &str, text: &str) -> String {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path.display().to_string()
    }

    /// Returns the ids of the running processes that descend from the command.
    pub fn processes(&self) -> Vec<u32> {
        let mark = format!("{MARK}={}", self.mark);
        let all = fs::read_dir("/proc").unwrap().flatten();
        let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        let marked = |pid: &u32| {
            let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environment.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes())
        };
        pids.filter(marked).collect()
    }

    /// Returns those of [`Self::processes`] that are the command in the hidden role `role`, such as `__supervisor`.
    pub fn processes_in_role(&self, role: &str) -> Vec<u32> {
        self.processes().into_iter().filter(|pid| command_line(*pid).get(1).is_some_and(|word| word == role)).collect()
    }

    /// Checks that no process is left. Waits for up to 5 s, since a killed process does not disappear at once.
    pub fn assert_no_process_left(&self, after: &str) {
        let deadline = Instant::now() + Duration::from_secs(5);
        while !self.processes().is_empty() {
            let left = self.processes();
            let names: Vec<_> = left.iter().map(|pid| command_line(*pid)).collect();
            assert!(Instant::now() < deadline, "processes left after {after}: {left:?} {names:?}");
            sleep(Duration::from_millis(20));
        }
    }

    /// Returns every file below the home folder.
    pub fn files(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut folders = vec![self.home.path().to_path_buf()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap().flatten() {
                if entry.file_type().unwrap().is_dir() { folders.push(entry.path()) } else { found.push(entry.path()) }
            }
        }
        found
    }
}

/// Returns the words of a process's command line. If the process has ended, all of them are empty.
pub fn command_line(pid: u32) -> Vec<String> {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    line.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect()
}

pub fn signal(pid: u32, signal: Signal) {
    let _ = kill_process(Pid::from_raw(pid as i32).unwrap(), signal);
}

/// Runs `test` on each case, on four at a time: most of their time, they wait for a quiet machine or for a time-out.
pub fn some_at_a_time<Case: Sync>(cases: &[Case], test: impl Fn(&Case) + Sync) {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    test(case);
                }
            });
        }
    });
}

/// Waits until `has_happened` returns true. Fails after 60 s.
pub fn wait_for(event: &str, mut has_happened: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !has_happened() {
        assert!(Instant::now() < deadline, "timed out waiting for {event}");
        sleep(Duration::from_millis(10));
    }
}

/// Waits until `busy load` with the process id `pid` has started its threads, and handles signals.
pub fn wait_for_load(pid: u32) {
    let threads = format!("/proc/{pid}/task");
    wait_for("the threads of the load", || fs::read_dir(&threads).is_ok_and(|threads| threads.count() > 1));
}

/// Waits for `child` to end, and returns its output. If it runs for longer than `limit`, kills it and fails.
pub fn finish(child: Child, limit: Duration) -> Output {
    let pid = child.id();
    let (sender, output) = channel();
    spawn(move || sender.send(child.wait_with_output()));
    output
        .recv_timeout(limit)
        .unwrap_or_else(|_| {
            signal(pid, Signal::KILL);
            panic!("the command did not end within {limit:?}")
        })
        .unwrap()
}

/// Returns the path of the interpreter that `python3` on PATH starts, which may be a launcher.
pub fn real_python() -> String {
    let output = Command::new("python3").args(["-c", "import sys; print(sys.executable)"]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

pub fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub fn json(path: &Path) -> serde_json::Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}
