//! Compiles the programs that a bench measures, and runs them pinned to a core under the lab's supervisor.

use crate::row::Round;
use busy_lab::process::{Spec, Supervised, SupervisorError};
use rustix::thread::{CpuSet, sched_setaffinity};
use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// The hidden subcommand that pins itself to a core and executes another program.
pub const ON_CORE: &str = "__on-core";

/// The reason why a measurement failed.
#[derive(Debug)]
pub enum Trouble {
    /// The user pressed Ctrl-C, which ends the whole run.
    Interrupted,
    /// The measurement failed. The reason is shown for the rows without figures.
    Failed(String),
}

impl From<SupervisorError> for Trouble {
    fn from(error: SupervisorError) -> Self {
        match error {
            SupervisorError::Interrupted => Self::Interrupted,
            other => Self::Failed(other.to_string()),
        }
    }
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

/// Returns the spec that runs `command`, with all its threads and child processes, only on `core`.
///
/// # Errors
/// This executable no longer exists.
pub fn on_core(core: usize, command: &[String], timeout_s: f64) -> Result<Spec, Trouble> {
    let own = text(&std::env::current_exe()?);
    let command = [own, ON_CORE.into(), core.to_string()].into_iter().chain(command.iter().cloned());
    Ok(Spec::new(command, timeout_s))
}

/// Runs the subcommand [`ON_CORE`]: executes `arguments[1..]` on core `arguments[0]`.
pub fn exec_on_core(arguments: &[OsString]) -> ExitCode {
    let [core, program, arguments @ ..] = arguments else { return ExitCode::from(2) };
    let Some(core) = core.to_str().and_then(|core| core.parse().ok()) else { return ExitCode::from(2) };
    let error = match pin(core) {
        Ok(()) => Command::new(program).args(arguments).exec(),
        Err(error) => error,
    };
    eprintln!("{}: {error}", program.to_string_lossy());
    ExitCode::from(127)
}

/// Pins the calling thread, and all threads that it starts from now on, to `core`.
///
/// # Errors
/// The core does not exist, or this process may not use it.
pub fn pin(core: usize) -> io::Result<()> {
    let mut set = CpuSet::new();
    set.set(core);
    Ok(sched_setaffinity(None, &set)?)
}

/// Runs `command` on `core` and parses its last line as a [`Round`].
///
/// # Errors
/// The program could not be started, failed, took longer than a minute, or printed invalid output.
pub fn round(core: usize, command: &[String]) -> Result<Round, Trouble> {
    let lines = Supervised::start(&on_core(core, command, 60.0)?)?.output()?.success().map_err(Trouble::Failed)?;
    let last = lines.last().map_or("", String::as_str);
    serde_json::from_str(last).map_err(|error| Trouble::Failed(format!("{}: {error}: {last:.80}", command[0])))
}

/// Compiles `source` into `output` with $CC (by default cc), with optimizations, and with `arguments` at the end.
///
/// # Errors
/// There is no compiler, or the compilation fails.
pub fn compile(source: &Path, output: &Path, arguments: &[String]) -> Result<(), Trouble> {
    let compiler = std::env::var("CC").ok().filter(|name| !name.is_empty()).unwrap_or_else(|| "cc".into());
    let mut command: Vec<String> = compiler.split_whitespace().map(str::to_owned).collect();
    command.extend(["-std=gnu11", "-O2", "-o"].map(str::to_owned));
    command.extend([text(output), text(source)]);
    command.extend_from_slice(arguments);
    let compiled = Supervised::start(&Spec::new(command, 120.0))?.output()?.success();
    let failed = |why| Trouble::Failed(format!("`{compiler}` could not compile {}: {why}", source.display()));
    compiled.map(drop).map_err(failed)
}

/// Returns the path of a file of this crate in the source tree. Benches are never installed.
pub fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// Converts a path to a command-line argument.
pub fn text(path: &Path) -> String {
    path.display().to_string()
}
