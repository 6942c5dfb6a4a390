//! The interpreters of this machine, and child processes that run them.

use busy_gil::remote::{Holder, RemoteGil};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};
use std::{env, fs};

/// Returns the lock that each test holds while it runs: two tests at the same time would disturb each other.
pub fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An interpreter, as it describes itself.
#[derive(Debug, Clone)]
pub struct Python {
    pub path: PathBuf,
    /// For example, `CPython 3.13t`.
    pub name: String,
}

/// Returns `python3` on PATH and the system's, all interpreters of pyenv, and all that `make interpreters` has
/// installed, each once.
pub fn pythons() -> Vec<Python> {
    let home = env::home_dir().unwrap_or_default();
    let pyenv = env::var_os("PYENV_ROOT").map_or_else(|| home.join(".pyenv"), PathBuf::from);
    let cache = env::var_os("XDG_CACHE_HOME").map_or_else(|| home.join(".cache"), PathBuf::from);
    let mut candidates = vec![PathBuf::from("python3"), PathBuf::from("/usr/bin/python3")];
    candidates.extend(entries(&pyenv.join("versions")).map(|version| version.join("bin/python")));
    candidates.extend(entries(&cache.join("busy/interpreters")).flat_map(|brought| entries(&brought.join("bin"))));
    let found: BTreeMap<_, _> = candidates.iter().filter_map(|candidate| describe(candidate)).collect();
    found.into_values().collect()
}

/// Returns the CPythons that have a GIL.
pub fn with_gil() -> Vec<Python> {
    let mut found = pythons();
    found.retain(|python| python.name.starts_with("CPython") && !python.name.ends_with('t'));
    if found.is_empty() {
        eprintln!("skipped: no CPython with a GIL was found");
    }
    found
}

/// Returns an interpreter called `name`. If there is none, prints that the test is skipped, and returns `None`.
pub fn named(name: &str) -> Option<Python> {
    let found = pythons().into_iter().find(|python| python.name == name);
    if found.is_none() {
        eprintln!("skipped: no {name} was found (pyenv's, or by make interpreters)");
    }
    found
}

fn entries(folder: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path())
}

/// Returns the interpreter and its resolved executable, by which duplicates are recognised.
fn describe(candidate: &Path) -> Option<(PathBuf, Python)> {
    const QUESTION: &str = "import platform, sys; print(sys.executable); \
        print(platform.python_implementation() + ' %d.%d' % sys.version_info[:2] + getattr(sys, 'abiflags', '').strip('m'))";
    let answer = Command::new(candidate).args(["-c", QUESTION]).stderr(Stdio::null()).output().ok()?;
    let answer = String::from_utf8(answer.stdout).ok()?;
    let [path, name] = answer.lines().collect::<Vec<_>>().try_into().ok()?;
    let path = PathBuf::from(path);
    Some((path.canonicalize().ok()?, Python { path, name: name.into() }))
}

/// Asserts that `tid`, the only thread of a process that spins in Python, is the only holder.
pub fn expect_to_hold(gil: &mut RemoteGil, tid: u32) {
    let start = Instant::now();
    let mut seen = 0;
    // The process may not have started to spin yet.
    while seen < 100 {
        match gil.sample().unwrap().holder {
            Holder::None => assert!(start.elapsed() < Duration::from_secs(10), "{gil:?}: {seen} of 100"),
            holder => {
                assert_eq!(holder, Holder::Thread(tid), "{gil:?}");
                seen += 1;
            }
        }
        sleep(Duration::from_millis(1));
    }
}

/// A child process that reads and writes lines. It ends when its stdin is closed, or when this is dropped.
pub struct Talker {
    pub child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

impl Talker {
    pub fn spawn(command: &mut Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take().unwrap());
        Self { child, stdin, stdout: BufReader::new(stdout) }
    }

    /// Runs `script` in `python`, and waits until it has printed `ready`.
    pub fn script(python: &Python, script: &str, arguments: &[&Path]) -> Self {
        let mut talker = Self::spawn(Command::new(&python.path).args(["-c", script]).args(arguments));
        assert_eq!(talker.line(), "ready", "{}", python.name);
        talker
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn send(&mut self, line: &str) {
        writeln!(self.stdin.as_mut().unwrap(), "{line}").unwrap();
    }

    /// Reads the next line, which is empty at the end of the output.
    pub fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }
}

impl Drop for Talker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
