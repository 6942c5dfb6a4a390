//! The environment of all groups: paths, cores, peers.

use crate::child::{self, Trouble, compile, source, text};
use crate::quiet::Plan;
use busy_lab::process::{Spec, Supervised};
use busy_lab::results::Interpreter;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The profiler of Python 3.15 (Tachyon), which can profile its own version only.
pub const PROFILING: &str = "profiling.sampling";

/// Returns the CPython that has [`PROFILING`].
///
/// # Errors
/// It is not among `pythons`.
pub fn with_profiling(pythons: &[Interpreter]) -> Result<&Interpreter, Trouble> {
    let is_it =
        |python: &&Interpreter| python.version_info == (3, 15) && python.implementation == "cpython" && python.gil;
    let none = || Trouble::Failed("no Python 3.15 found; `make interpreters` installs it".into());
    pythons.iter().find(is_it).ok_or_else(none)
}

/// The environment of all groups.
pub struct Bench {
    /// The command `busy`.
    pub busy: PathBuf,
    /// The shared library.
    pub libbusy: PathBuf,
    /// The interpreter, or the reason why there is none.
    pub python: Result<Interpreter, String>,
    /// The folder for compiled programs.
    pub folder: PathBuf,
    /// The core of this process, its supervisors, and the observers.
    pub observer: usize,
    /// The core of the measured program; equal to `observer` if there is only one core.
    pub measured: usize,
    /// Whether to run few, short rounds, whose figures are meaningless.
    pub quick: bool,
}

impl Bench {
    /// Returns the interpreter.
    ///
    /// # Errors
    /// There is no interpreter.
    pub fn python(&self) -> Result<&Interpreter, Trouble> {
        self.python.as_ref().map_err(|why| Trouble::Failed(why.clone()))
    }

    /// Returns `full`, or `quick` for a quick run.
    pub fn size(&self, full: usize, quick: usize) -> usize {
        if self.quick { quick } else { full }
    }

    /// Returns a plan of `rounds` rounds after a wait for a quiet machine; for a quick run, of two rounds without a
    /// wait.
    pub fn plan(&self, rounds: usize) -> Plan {
        Plan { rounds: self.size(rounds, 2), patience: self.patience() }
    }

    /// Returns the maximum wait for a quiet machine.
    pub fn patience(&self) -> Duration {
        Duration::from_secs(self.size(5, 0) as u64)
    }

    /// Compiles the peers in C, and returns the path of their shared library.
    ///
    /// # Errors
    /// The compilation fails.
    pub fn peers(&self) -> Result<PathBuf, Trouble> {
        let library = self.folder.join("libpeers.so");
        compile(&source("c/peers.c"), &library, &["-shared".into(), "-fPIC".into(), include_flag()])?;
        Ok(library)
    }

    /// Compiles the measuring program c/`name`.c, and returns its path.
    ///
    /// # Errors
    /// The compilation fails.
    pub fn program(&self, name: &str) -> Result<PathBuf, Trouble> {
        let program = self.folder.join(name);
        let flags = [include_flag(), "-pthread".into(), "-ldl".into()];
        compile(&source(&format!("c/{name}.c")), &program, &flags)?;
        Ok(program)
    }

    /// Runs a script of benches/python, and waits for it.
    ///
    /// # Errors
    /// The script fails.
    pub fn run_python(&self, arguments: &[&str]) -> Result<(), Trouble> {
        let python = text(&self.python()?.command);
        let command = [python.as_str(), "-I"].into_iter().chain(arguments.iter().copied());
        Supervised::start(&Spec::new(command, 60.0))?.output()?.success().map(drop).map_err(Trouble::Failed)
    }

    /// Runs `work` in this thread, pinned to the core of the measured program.
    ///
    /// # Errors
    /// `work` fails, or the thread cannot be pinned.
    pub fn while_pinned<T>(&self, work: impl FnOnce() -> Result<T, Trouble>) -> Result<T, Trouble> {
        child::pin(self.measured)?;
        let done = work();
        child::pin(self.observer)?;
        done
    }
}

/// Returns the compiler's option for the folder of busy.h.
fn include_flag() -> String {
    format!("-I{}", text(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../ffi/include")))
}
