//! Helpers that the tests across the faces share: the libbusy under test, and the interpreters of this machine.

#[path = "../../ffi/tests/common/mod.rs"]
pub mod library;

pub use library::libbusy;
use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// An interpreter, with the path and the version that it reports.
pub struct Python {
    pub path: PathBuf,
    /// For example `CPython 3.11`, or `CPython 3.13t` if it is free-threaded.
    pub name: String,
}

/// Returns `python3` on PATH, the interpreters of pyenv, and those that `make interpreters` installed, each once.
pub fn pythons() -> Vec<Python> {
    let mut candidates = vec![PathBuf::from("python3")];
    if let Some(root) = env::var_os("PYENV_ROOT")
        && let Ok(versions) = fs::read_dir(Path::new(&root).join("versions"))
    {
        candidates.extend(versions.map(|version| version.unwrap().path().join("bin/python")));
    }
    let cache = env::var_os("XDG_CACHE_HOME").map(PathBuf::from).or_else(|| Some(env::home_dir()?.join(".cache")));
    if let Some(cache) = cache
        && let Ok(installed) = fs::read_dir(cache.join("busy/interpreters"))
    {
        let programs = installed.flatten().filter_map(|entry| fs::read_dir(entry.path().join("bin")).ok());
        candidates.extend(programs.flatten().flatten().map(|program| program.path()));
    }
    // The key is the resolved executable, since the python3 on PATH is often one of pyenv's.
    let found: BTreeMap<_, _> = candidates.iter().filter_map(|candidate| identify(candidate)).collect();
    if found.is_empty() {
        eprintln!("skipped: no interpreter found on PATH, in pyenv, or from `make interpreters`");
    }
    found.into_values().collect()
}

/// Returns the resolved executable of `candidate` and its description. None if it is not a working interpreter.
fn identify(candidate: &Path) -> Option<(PathBuf, Python)> {
    const QUERY: &str = "import platform, sys; \
        print(sys.executable); print(platform.python_implementation() + ' %d.%d' % sys.version_info[:2] + \
        't' * ('t' in getattr(sys, 'abiflags', '')))";
    let answer = Command::new(candidate).args(["-c", QUERY]).output().ok().filter(|answer| answer.status.success())?;
    let answer = stdout(&answer);
    let [path, name] = answer.lines().collect::<Vec<_>>().try_into().ok()?;
    let path = PathBuf::from(path);
    Some((path.canonicalize().ok()?, Python { path, name: name.into() }))
}

/// Runs `command` to its end and returns its output.
pub fn run(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|error| panic!("{}: {error}", command_line(command)))
}

/// Runs `command`, which must succeed without output on stderr, and returns its stdout.
pub fn printed(command: &mut Command) -> String {
    let output = run(command);
    assert!(output.status.success() && output.stderr.is_empty(), "{}\n{}", command_line(command), describe(&output));
    stdout(&output)
}

/// Returns the exit status and everything that was printed, for the message of a failed assertion.
pub fn describe(output: &Output) -> String {
    format!("{}\n{}{}", output.status, stdout(output), String::from_utf8_lossy(&output.stderr))
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Returns the command line. The Debug format would include the environment.
fn command_line(command: &Command) -> String {
    let words = [command.get_program()].into_iter().chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}
