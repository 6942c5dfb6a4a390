//! Which Python is it? Asked of the interpreter itself, never guessed from its name.

use crate::guard::{GuardError, Guarded, Spec};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Asks an interpreter from 2.7 on, in one JSON line.
const QUESTION: &str = r#"
import json, platform, sys, sysconfig
get = sysconfig.get_config_var
print(json.dumps({
    "version": platform.python_version(),
    "version_info": list(sys.version_info[:2]),
    "implementation": platform.python_implementation().lower(),
    "gil": getattr(sys, "_is_gil_enabled", lambda: True)(),
    "path": sys.executable,
    "build_flags": get("CONFIG_ARGS") or "",
    "include": sysconfig.get_paths()["include"],
    "suffix": get("EXT_SUFFIX") or get("SO") or ".so",
}))
"#;

/// How long an interpreter may take to say who it is; a cold one on a slow disk takes seconds.
const PATIENCE_S: f64 = 10.0;

/// An interpreter that has answered.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Interpreter {
    /// Its exact version, such as "3.11.7".
    pub version: String,
    /// cpython, pypy, ...
    pub implementation: String,
    /// False where no GIL is in force: a free-threaded build that was not told otherwise.
    pub gil: bool,
    /// The executable, as it knows itself.
    pub path: String,
    /// How it was configured (CONFIG_ARGS): the same version built otherwise runs otherwise.
    pub build_flags: String,
    /// Major and minor version.
    #[serde(skip_serializing)]
    pub version_info: (u32, u32),
    /// Where its Python.h lies, if it is installed.
    #[serde(skip_serializing)]
    pub include: PathBuf,
    /// What the names of its extension modules end in.
    #[serde(skip_serializing)]
    pub suffix: String,
}

/// Why something is not an interpreter that can be used.
#[derive(Debug, thiserror::Error)]
pub enum InterpreterError {
    /// It did not answer the question.
    #[error(
        "{name} is not a Python that runs: {why}; give -p the path of an interpreter, or a version on PATH such as 3.11"
    )]
    NoAnswer {
        /// As it was asked for.
        name: String,
        /// What came instead.
        why: String,
    },
    /// The lab was stopped, or its guard was.
    #[error(transparent)]
    Guard(#[from] GuardError),
}

impl Interpreter {
    /// Asks `name` who it is: a path, a command on PATH, or a version (`3.11` is the command `python3.11`).
    ///
    /// # Errors
    /// [`InterpreterError::NoAnswer`] if it can't be started, fails, hangs, or answers something else.
    pub fn identify(name: &str) -> Result<Self, InterpreterError> {
        let is_version = name.starts_with(|first: char| first.is_ascii_digit()) && !name.contains('/');
        let command = if is_version { format!("python{name}") } else { name.to_owned() };
        let output = Guarded::start(&Spec::new([command.as_str(), "-c", QUESTION], PATIENCE_S))?.output()?;
        let answer = output.success().and_then(|lines| {
            let last = lines.last().map_or("", String::as_str);
            serde_json::from_str(last).map_err(|_| {
                let shown: String = last.chars().take(60).collect();
                format!("asked for its version, it answered {shown:?}")
            })
        });
        answer.map_err(|why| InterpreterError::NoAnswer { name: command, why })
    }

    /// The machine's own Python.
    ///
    /// # Errors
    /// As [`Self::identify`], of `python3`, if `python` fails too.
    pub fn own() -> Result<Self, InterpreterError> {
        Self::identify("python3").or_else(|error| Self::identify("python").map_err(|_| error))
    }

    /// "CPython 3.11.7", and whether there is a GIL where one would expect one.
    pub fn title(&self) -> String {
        let name = match self.implementation.as_str() {
            "cpython" => "CPython",
            "pypy" => "PyPy",
            other => other,
        };
        format!("{name} {}{}", self.version, if self.gil { "" } else { " without GIL" })
    }

    /// True before CPython 3.2, whose GIL is the talk's: released every 100 bytecodes, by a signal to all.
    pub fn has_old_gil(&self) -> bool {
        self.version_info < (3, 2)
    }
}
