//! The groups of rows, each measured together.

mod calls;
mod cancel;
pub mod gil;
mod import;
mod load;
mod sampler;
mod waits;

use crate::child::{self, Trouble, compile, source, text};
use crate::quiet::{Plan, Rounds};
use crate::row::Row;
use busy_lab::process::{Spec, Supervised};
use busy_lab::results::Interpreter;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Rows that are measured together.
#[derive(Clone, Copy)]
pub struct Group {
    /// As the command line has it.
    pub name: &'static str,
    /// Its rows, empty.
    pub rows: fn() -> Vec<Row>,
    /// What fills them: a row's rounds are in the first that knows it.
    pub measure: fn(&Bench) -> Result<Vec<Rounds>, Trouble>,
}

/// All of them, in the order of the table.
pub const ALL: [Group; 7] = [
    Group { name: "waits", rows: waits::rows, measure: waits::measure },
    Group { name: "cancel", rows: cancel::rows, measure: cancel::measure },
    Group { name: "load", rows: load::rows, measure: load::measure },
    Group { name: "calls", rows: calls::rows, measure: calls::measure },
    Group { name: "import", rows: import::rows, measure: import::measure },
    Group { name: "sampler", rows: sampler::rows, measure: sampler::measure },
    Group { name: "gil", rows: gil::rows, measure: gil::measure },
];

/// What all groups need.
pub struct Bench {
    /// The command `busy`.
    pub busy: PathBuf,
    /// The shared library.
    pub libbusy: PathBuf,
    /// The interpreter, or why there is none.
    pub python: Result<Interpreter, String>,
    /// For what is compiled.
    pub folder: PathBuf,
    /// The core of the bench itself, its guards, and of what watches.
    pub observer: usize,
    /// The core of what is measured; the same where there is one only.
    pub measured: usize,
    /// A try-out: few, short rounds, whose figures mean nothing.
    pub quick: bool,
}

impl Group {
    /// Its rows, filled, or with the reason why not.
    ///
    /// # Errors
    /// Ctrl-C.
    pub fn run(&self, bench: &Bench) -> Result<Vec<Row>, Trouble> {
        let mut rows = (self.rows)();
        let measured = match (self.measure)(bench) {
            Ok(measured) => Ok(measured),
            Err(Trouble::Interrupted) => return Err(Trouble::Interrupted),
            Err(Trouble::Failed(why)) => Err(why),
        };
        for row in &mut rows {
            row.group = self.name.into();
            match &measured {
                Ok(measured) => {
                    let own = measured.iter().find(|rounds| rounds.rounds.iter().any(|round| round.knows(&row.row)));
                    match own {
                        Some(own) => row.fill(&own.rounds, own.disturbed),
                        None => row.miss("it was not measured"),
                    }
                }
                Err(why) => row.miss(why),
            }
        }
        Ok(rows)
    }
}

impl Bench {
    /// The interpreter.
    ///
    /// # Errors
    /// Why there is none.
    pub fn python(&self) -> Result<&Interpreter, Trouble> {
        self.python.as_ref().map_err(|why| Trouble::Failed(why.clone()))
    }

    /// A size of a round: `full`, or `quick`.
    pub fn size(&self, full: usize, quick: usize) -> usize {
        if self.quick { quick } else { full }
    }

    /// So many rounds after a wait for a quiet machine, or two at once.
    pub fn plan(&self, rounds: usize) -> Plan {
        Plan { rounds: self.size(rounds, 2), patience: self.patience() }
    }

    /// How long to wait for a quiet machine, at the most.
    pub fn patience(&self) -> Duration {
        Duration::from_secs(self.size(5, 0) as u64)
    }

    /// The peers in C as a shared library.
    ///
    /// # Errors
    /// It can't be compiled.
    pub fn peers(&self) -> Result<PathBuf, Trouble> {
        let library = self.folder.join("libpeers.so");
        compile(&source("c/peers.c"), &library, &["-shared".into(), "-fPIC".into(), header()])?;
        Ok(library)
    }

    /// The measuring program c/`name`.c.
    ///
    /// # Errors
    /// It can't be compiled.
    pub fn program(&self, name: &str) -> Result<PathBuf, Trouble> {
        let program = self.folder.join(name);
        let flags = [header(), "-pthread".into(), "-ldl".into()];
        compile(&source(&format!("c/{name}.c")), &program, &flags)?;
        Ok(program)
    }

    /// Runs a script of benches/python to its end.
    ///
    /// # Errors
    /// It failed.
    pub fn run_python(&self, arguments: &[&str]) -> Result<(), Trouble> {
        let python = text(&self.python()?.command);
        let command = [python.as_str(), "-I"].into_iter().chain(arguments.iter().copied());
        Supervised::start(&Spec::new(command, 60.0))?.output()?.success().map(drop).map_err(Trouble::Failed)
    }

    /// Runs `work` in this thread on the core of what is measured.
    ///
    /// # Errors
    /// Those of `work`; it can't be pinned.
    pub fn while_pinned<T>(&self, work: impl FnOnce() -> Result<T, Trouble>) -> Result<T, Trouble> {
        child::pin(self.measured)?;
        let done = work();
        child::pin(self.observer)?;
        done
    }
}

/// Where busy.h lies.
fn header() -> String {
    format!("-I{}", text(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../ffi/include")))
}
