//! Runs the command with a home of its own, and knows every process that descends from it.

use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::channel;
use std::thread::{sleep, spawn};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The command.
pub const BUSY: &str = env!("CARGO_BIN_EXE_busy");
/// Marks every process of one bench by an inherited variable.
const MARK: &str = "BUSY_TEST_MARK";

/// A place to run the command in: an empty home, and a mark on all that it starts.
pub struct Bench {
    pub home: TempDir,
    mark: String,
}

impl Bench {
    pub fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let mark = format!("{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        Self { home: tempfile::tempdir().unwrap(), mark }
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        self.under(&[], arguments)
    }

    /// The command as `wrapper` (env, unshare, ...) starts it.
    pub fn under(&self, wrapper: &[&str], arguments: &[&str]) -> Command {
        let words = [wrapper, &[BUSY], arguments].concat();
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).env("HOME", self.home.path()).env(MARK, &self.mark);
        for variable in ["XDG_CACHE_HOME", "XDG_STATE_HOME", "BUSY_LIBDIR", "CC"] {
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

    pub fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// An "interpreter" that answers as the real one when asked who it is, and else runs `body`.
    pub fn false_interpreter(&self, body: &str) -> String {
        let real = real_python();
        self.executable("python", &format!("#!/bin/sh\nif [ \"$1\" = -c ]; then exec {real} \"$@\"; fi\n{body}\n"))
    }

    pub fn executable(&self, name: &str, text: &str) -> String {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path.display().to_string()
    }

    /// The processes that the command has started and that are still there.
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

    /// Those of [`Self::processes`] that are this command in a hidden role: `__supervisor`, `__reaper`.
    pub fn role(&self, role: &str) -> Vec<u32> {
        self.processes().into_iter().filter(|pid| command_line(*pid).get(1).is_some_and(|word| word == role)).collect()
    }

    /// Waits until none is left; a killed process takes the kernel a moment.
    pub fn assert_nobody_left(&self, after: &str) {
        let give_up = Instant::now() + Duration::from_secs(5);
        while !self.processes().is_empty() {
            let left = self.processes();
            let names: Vec<_> = left.iter().map(|pid| command_line(*pid)).collect();
            assert!(Instant::now() < give_up, "after {after} these are left: {left:?} {names:?}");
            sleep(Duration::from_millis(20));
        }
    }

    /// Every file below the home, but for the unpacked texts and compiled modules of the cache.
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

/// The words of a process's command line; none once it has ended.
pub fn command_line(pid: u32) -> Vec<String> {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    line.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect()
}

pub fn signal(pid: u32, signal: Signal) {
    let _ = kill_process(Pid::from_raw(pid as i32).unwrap(), signal);
}

pub fn wait_for(what: &str, mut there: impl FnMut() -> bool) {
    let give_up = Instant::now() + Duration::from_secs(20);
    while !there() {
        assert!(Instant::now() < give_up, "{what} did not come");
        sleep(Duration::from_millis(10));
    }
}

/// What `child` has written by its end, which must come within `limit`.
pub fn finish(child: Child, limit: Duration) -> Output {
    let pid = child.id();
    let (sender, output) = channel();
    spawn(move || sender.send(child.wait_with_output()));
    output
        .recv_timeout(limit)
        .unwrap_or_else(|_| {
            signal(pid, Signal::KILL);
            panic!("it did not end within {limit:?}")
        })
        .unwrap()
}

/// The machine's own python3, behind whatever launcher PATH has.
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
