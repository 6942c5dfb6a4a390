//! Which Python is it? Asked of the interpreter itself, never guessed from its name.

mod discovery;

pub use discovery::{Broken, Found, discover};

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
    "free_threaded": bool(get("Py_GIL_DISABLED")),
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
    /// True for a build that can do without the GIL (3.13t and the like).
    pub free_threaded: bool,
    /// The executable, as it knows itself.
    pub path: String,
    /// How it was configured (CONFIG_ARGS): the same version built otherwise runs otherwise.
    pub build_flags: String,
    /// Major and minor version.
    pub version_info: (u32, u32),
    /// Where its Python.h lies, if it is installed.
    pub include: PathBuf,
    /// What the names of its extension modules end in.
    pub suffix: String,
}

/// Why something is not an interpreter that can be used.
#[derive(Debug, thiserror::Error)]
pub enum InterpreterError {
    /// It did not answer the question.
    #[error("{name} is not a Python that runs: {why}; `busy pythons` lists those that do, and -p takes a path too")]
    NoAnswer {
        /// As it was asked for.
        name: String,
        /// What came instead.
        why: String,
    },
    /// No interpreter found is of that version.
    #[error("there is no Python {version} here, only {}; give -p the path of one", .found.join(", "))]
    NotFound {
        /// As it was asked for.
        version: String,
        /// Those that there are.
        found: Vec<String>,
    },
    /// The lab was stopped, or its guard was.
    #[error(transparent)]
    Guard(#[from] GuardError),
}

impl Interpreter {
    /// Asks `command`, a path or a name on PATH, who it is.
    ///
    /// # Errors
    /// [`InterpreterError::NoAnswer`] if it can't be started, fails, hangs, or answers something else.
    pub fn identify(command: &str) -> Result<Self, InterpreterError> {
        let output = Guarded::start(&Spec::new([command, "-c", QUESTION], PATIENCE_S))?.output()?;
        let answer = output.success().and_then(|lines| {
            let last = lines.last().map_or("", String::as_str);
            serde_json::from_str(last).map_err(|_| {
                let shown: String = last.chars().take(60).collect();
                format!("asked for its version, it answered {shown:?}")
            })
        });
        answer.map_err(|why| InterpreterError::NoAnswer { name: command.to_owned(), why })
    }

    /// The machine's own Python.
    ///
    /// # Errors
    /// As [`Self::identify`], of `python3`, if `python` fails too.
    pub fn own() -> Result<Self, InterpreterError> {
        Self::identify("python3").or_else(|error| Self::identify("python").map_err(|_| error))
    }

    /// Every interpreter that `names` ask for: versions (`3.13`, `3.13t`, `2.7.18`, `pypy3`), `all`, paths, commands on
    /// PATH; without any, the machine's own.
    ///
    /// # Errors
    /// The first name that leads to none.
    pub fn resolve(names: &[String]) -> Result<Vec<Self>, InterpreterError> {
        if names.is_empty() {
            return Ok(vec![Self::own()?]);
        }
        let mut found = None;
        let mut resolved = Vec::new();
        for name in names {
            let is_version = name.starts_with(|first: char| first.is_ascii_digit()) || name.starts_with("pypy");
            if name != "all" && (!is_version || name.contains('/')) {
                resolved.push(Self::identify(name)?);
                continue;
            }
            let here = match found.take() {
                Some(found) => found,
                None => discover()?.interpreters,
            };
            if name == "all" {
                resolved.extend(here.iter().cloned());
            } else {
                // The last is the newest.
                let newest = here.iter().rfind(|interpreter| interpreter.is_a(name)).cloned();
                let all = || here.iter().map(Self::name).collect();
                resolved
                    .push(newest.ok_or_else(|| InterpreterError::NotFound { version: name.clone(), found: all() })?);
            }
            found = Some(here);
        }
        Ok(resolved)
    }

    /// True if `name` is its version, or the beginning of it.
    fn is_a(&self, name: &str) -> bool {
        // 3.13 is the build with the GIL, 3.13t the one that can do without.
        let split = |name: &str| (name.trim_end_matches('t').to_owned(), name.ends_with('t'));
        let ((own, own_t), (wanted, wanted_t)) = (split(&self.name()), split(name));
        // With the dot, since 3.1 is not 3.11.
        own_t == wanted_t && (own == wanted || own.starts_with(&format!("{wanted}.")))
    }

    /// "3.11.7", "3.13.0t", "pypy3.10.14": as `-p` takes it.
    pub fn name(&self) -> String {
        let prefix = if self.implementation == "cpython" { "" } else { &self.implementation };
        format!("{prefix}{}{}", self.version, if self.free_threaded { "t" } else { "" })
    }

    /// CPython first, then by version, the free-threaded build behind the other.
    fn sort_key(&self) -> (bool, Vec<u32>, bool, String) {
        let numbers = self.version.split(|letter: char| !letter.is_ascii_digit()).filter_map(|part| part.parse().ok());
        (self.implementation != "cpython", numbers.collect(), self.free_threaded, self.path.clone())
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

#[cfg(test)]
mod tests {
    use super::*;

    fn interpreter(implementation: &str, version: &str, free_threaded: bool) -> Interpreter {
        let path = format!("/opt/{implementation}{version}{free_threaded}");
        let answer = serde_json::json!({
            "version": version, "version_info": [3, 1], "implementation": implementation, "gil": !free_threaded,
            "free_threaded": free_threaded, "path": path, "build_flags": "", "include": "", "suffix": ".so",
        });
        serde_json::from_value(answer).unwrap()
    }

    #[test]
    fn a_version_names_the_interpreters_that_it_begins() {
        let is_a = |version, free_threaded, name: &str| interpreter("cpython", version, free_threaded).is_a(name);
        assert!(is_a("3.13.0", false, "3.13") && is_a("3.13.0", false, "3.13.0") && is_a("3.13.0", false, "3"));
        assert!(!is_a("3.11.7", false, "3.1") && !is_a("3.13.0", false, "3.13t") && !is_a("3.13.0", true, "3.13"));
        assert!(is_a("3.13.0", true, "3.13t") && is_a("3.13.0", true, "3.13.0t"));
        let pypy = interpreter("pypy", "3.10.14", false);
        assert!(pypy.is_a("pypy3") && pypy.is_a("pypy3.10") && !pypy.is_a("3.10"));
    }

    #[test]
    fn they_stand_in_the_order_of_their_versions() {
        let mut all = [
            ("pypy", "3.10.14", false),
            ("cpython", "3.13.0", true),
            ("cpython", "3.13.0", false),
            ("cpython", "3.9.18", false),
        ]
        .map(|(implementation, version, free_threaded)| interpreter(implementation, version, free_threaded));
        all.sort_by_key(Interpreter::sort_key);
        assert_eq!(all.map(|interpreter| interpreter.name()), ["3.9.18", "3.13.0", "3.13.0t", "pypy3.10.14"]);
    }
}
