//! Runs the command with a home of its own, and knows every process that descends from it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;

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
        let mut command = Command::new(env!("CARGO_BIN_EXE_busy"));
        command.args(arguments).env("HOME", self.home.path()).env(MARK, &self.mark);
        for variable in ["XDG_CACHE_HOME", "XDG_STATE_HOME", "BUSY_LIBDIR", "CC"] {
            command.env_remove(variable);
        }
        command.stdin(Stdio::null());
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    pub fn spawn(&self, arguments: &[&str]) -> Child {
        self.command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// An "interpreter" that answers as the real one when asked who it is, and else runs `body`.
    pub fn false_interpreter(&self, body: &str) -> String {
        let real = real_python();
        // The answer names this script as the interpreter's path, or the lab would run the real one.
        let text = format!(
            "#!/bin/sh\nif [ \"$1\" = -c ]; then {real} -c \"$2\" | sed \"s|\\\"path\\\": \\\"[^\\\"]*\\\"|\\\"path\\\": \\\"$0\\\"|\"; exit; fi\n{body}\n"
        );
        self.executable("python", &text)
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

    /// Waits until none is left; a killed process takes the kernel a moment.
    pub fn assert_nobody_left(&self, after: &str) {
        let give_up = Instant::now() + Duration::from_secs(5);
        while !self.processes().is_empty() {
            let left = self.processes();
            let names: Vec<_> = left.iter().map(|pid| fs::read_to_string(format!("/proc/{pid}/cmdline"))).collect();
            assert!(Instant::now() < give_up, "after {after} these are left: {left:?} {names:?}");
            std::thread::sleep(Duration::from_millis(20));
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
