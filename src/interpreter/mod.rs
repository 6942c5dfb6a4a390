//! Which Python is it? Asked of the interpreter itself, never guessed from its name.

mod answer;
mod discovery;
mod embedding;

pub use discovery::{Broken, Found, discover};
pub use embedding::Embedding;

use crate::guard::GuardError;
use rustix::fs::{Access, access};
use serde::{Deserialize, Serialize, Serializer};
use std::env;
use std::ffi::{OsStr, OsString};
use std::fmt::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::{self, Path, PathBuf};

/// An interpreter that has answered.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Interpreter {
    /// Its exact version, such as "3.11.7": for others than CPython, of the language.
    pub version: String,
    /// cpython, pypy, ...
    pub implementation: String,
    /// The implementation's own version, where it has one: "7.3.20".
    #[serde(skip_serializing_if = "Option::is_none")]
    pub implementation_version: Option<String>,
    /// False where no GIL is in force: a free-threaded build that was not told otherwise (by PYTHON_GIL=1).
    pub gil: bool,
    /// True for a build that can do without the GIL (3.13t and the like).
    pub free_threaded: bool,
    /// The executable, as it knows itself.
    #[serde(serialize_with = "shown")]
    pub path: PathBuf,
    /// What is run: as it was asked for, since a wrapper may set what the executable needs.
    #[serde(serialize_with = "shown")]
    pub command: PathBuf,
    /// How it was configured (CONFIG_ARGS): the same version built otherwise runs otherwise.
    pub build_flags: String,
    /// Major and minor version.
    pub version_info: (u32, u32),
    /// Where its Python.h lies, if it is installed.
    #[serde(serialize_with = "shown")]
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
    #[error("there is no Python {version} here, only {}; give -p the path of one, or see `make interpreters`", .found.join(", "))]
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
    pub fn identify(command: &OsStr) -> Result<Self, InterpreterError> {
        answer::ask(&absolute(command))
    }

    /// The machine's own Python.
    ///
    /// # Errors
    /// As [`Self::identify`], of `python3`, if `python` fails too.
    pub fn own() -> Result<Self, InterpreterError> {
        Self::identify("python3".as_ref()).or_else(|error| Self::identify("python".as_ref()).map_err(|_| error))
    }

    /// Every interpreter that `names` ask for: versions (`3.13`, `3.13t`, `2.7.18`, `pypy3`), `all`, paths, commands on
    /// PATH; without any, the machine's own.
    ///
    /// # Errors
    /// The first name that leads to none.
    pub fn resolve(names: &[OsString]) -> Result<Vec<Self>, InterpreterError> {
        if names.is_empty() {
            return Ok(vec![Self::own()?]);
        }
        let mut found = None;
        let mut resolved = Vec::new();
        for name in names {
            // A path that is no UTF-8 is no version.
            let version = name.to_str().filter(|name| is_version(name));
            if name != "all" && version.is_none() {
                resolved.push(Self::identify(name)?);
                continue;
            }
            let here = match found.take() {
                Some(found) => found,
                None => discover()?.interpreters,
            };
            match version {
                None => resolved.extend(here.iter().cloned()),
                Some(version) => {
                    // The last is the newest.
                    let newest = here.iter().rfind(|interpreter| interpreter.is_a(version)).cloned();
                    let all = || here.iter().map(Self::name).collect();
                    resolved.push(
                        newest.ok_or_else(|| InterpreterError::NotFound { version: version.into(), found: all() })?,
                    );
                }
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
        own_t == wanted_t && (own == wanted || name == self.implementation || own.starts_with(&format!("{wanted}.")))
    }

    /// "3.11.7", "3.13.0t", "pypy3.10.14": as `-p` takes it.
    pub fn name(&self) -> String {
        let prefix = if self.implementation == "cpython" { "" } else { &self.implementation };
        format!("{prefix}{}{}", self.version, if self.free_threaded { "t" } else { "" })
    }

    /// CPython first, then by version, the free-threaded build behind the other.
    fn sort_key(&self) -> (bool, Vec<u32>, bool, PathBuf) {
        let numbers = self.version.split(|letter: char| !letter.is_ascii_digit()).filter_map(|part| part.parse().ok());
        (self.implementation != "cpython", numbers.collect(), self.free_threaded, self.path.clone())
    }

    /// "CPython 3.11.7", "PyPy 7.3.20 (Python 3.11.13)", and of a build that can do without the GIL, whether it does.
    pub fn title(&self) -> String {
        let name = match self.implementation.as_str() {
            "cpython" => "CPython",
            "pypy" => "PyPy",
            other => other,
        };
        let version = match &self.implementation_version {
            Some(own) => format!("{own} (Python {})", self.version),
            None => self.version.clone(),
        };
        let gil = match (self.free_threaded, self.gil) {
            (false, _) => "",
            (true, false) => "t without GIL",
            (true, true) => "t with its GIL switched on",
        };
        format!("{name} {version}{gil}")
    }

    /// True before CPython 3.2, whose GIL is the talk's: released every 100 bytecodes, by a signal to all.
    pub fn has_old_gil(&self) -> bool {
        self.implementation == "cpython" && self.version_info < (3, 2)
    }

    /// True if what is run is a wrapper, a launcher or a shim: another file than the interpreter that it leads to.
    pub fn is_wrapped(&self) -> bool {
        self.command.canonicalize().ok() != self.path.canonicalize().ok()
    }
}

/// True for what looks like a version, and not like a path.
fn is_version(name: &str) -> bool {
    (name.starts_with(|first: char| first.is_ascii_digit()) || name.starts_with("pypy")) && !name.contains('/')
}

/// `command` as a path that holds in every folder; as it is if PATH leads to none.
fn absolute(command: &OsStr) -> PathBuf {
    let named = Path::new(command);
    let mut found = named.to_path_buf();
    if !command.is_empty() && !command.as_bytes().contains(&b'/') {
        let path = env::var_os("PATH").unwrap_or_default();
        let mut files = env::split_paths(&path).map(|folder| folder.join(named));
        match files.find(|file| file.is_file() && access(file, Access::EXEC_OK).is_ok()) {
            Some(file) => found = file,
            None => return found,
        }
    }
    path::absolute(&found).unwrap_or(found)
}

/// A path as text, in which a byte that is no UTF-8 stands as `\xff`.
pub fn text(path: &Path) -> String {
    let mut text = String::new();
    for chunk in path.as_os_str().as_bytes().utf8_chunks() {
        text.push_str(chunk.valid());
        chunk.invalid().iter().for_each(|byte| write!(text, "\\x{byte:02x}").expect("a string takes all"));
    }
    text
}

fn shown<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&text(path))
}

#[cfg(test)]
impl Interpreter {
    /// A CPython of that version which nobody runs.
    pub(crate) fn example(version: &str, version_info: (u32, u32)) -> Self {
        Self {
            version: version.into(),
            implementation: "cpython".into(),
            implementation_version: None,
            gil: true,
            free_threaded: false,
            path: "/usr/bin/python3".into(),
            command: "/usr/bin/python3".into(),
            build_flags: String::new(),
            version_info,
            include: "/usr/include".into(),
            suffix: ".so".into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interpreter(implementation: &str, version: &str, free_threaded: bool) -> Interpreter {
        let path = PathBuf::from(format!("/opt/{implementation}{version}{free_threaded}"));
        Interpreter {
            implementation: implementation.into(),
            implementation_version: (implementation == "pypy").then(|| "7.3.17".into()),
            gil: !free_threaded,
            free_threaded,
            command: path.clone(),
            path,
            ..Interpreter::example(version, (3, 1))
        }
    }

    #[test]
    fn a_title_tells_whether_a_build_that_can_do_without_the_gil_does() {
        let mut free_threaded = interpreter("cpython", "3.13.0", true);
        assert_eq!(free_threaded.title(), "CPython 3.13.0t without GIL");
        free_threaded.gil = true;
        assert_eq!(free_threaded.title(), "CPython 3.13.0t with its GIL switched on");
        assert_eq!(interpreter("cpython", "3.13.0", false).title(), "CPython 3.13.0");
        assert_eq!(interpreter("pypy", "3.10.14", false).title(), "PyPy 7.3.17 (Python 3.10.14)");
    }

    #[test]
    fn versions_are_told_from_paths_and_commands() {
        for version in ["3", "3.13t", "2.7.18", "pypy3", "pypy3.11.13"] {
            assert!(is_version(version), "{version}");
        }
        for other in ["python3", "./3.13", "pypy3/bin/pypy3", "all", ""] {
            assert!(!is_version(other), "{other}");
        }
    }

    #[test]
    fn a_command_holds_in_every_folder() {
        assert_eq!(absolute("/usr/bin/python3".as_ref()), Path::new("/usr/bin/python3"));
        assert_eq!(absolute("bin/python".as_ref()), env::current_dir().unwrap().join("bin/python"));
        let sh = absolute("sh".as_ref());
        assert!(sh.is_absolute() && sh.ends_with("sh") && sh.is_file(), "{sh:?}");
        assert_eq!(absolute("no-such-command".as_ref()), Path::new("no-such-command"));
        assert_eq!(absolute("".as_ref()), Path::new(""));
    }

    #[test]
    fn a_path_that_is_no_text_is_shown_with_its_bytes() {
        assert_eq!(text(Path::new(OsStr::from_bytes(b"/caf\xc3\xa9/\xff\xfe/x"))), "/caf\u{e9}/\\xff\\xfe/x");
    }

    #[test]
    fn a_version_names_the_interpreters_that_it_begins() {
        let is_a = |version, free_threaded, name: &str| interpreter("cpython", version, free_threaded).is_a(name);
        assert!(is_a("3.13.0", false, "3.13") && is_a("3.13.0", false, "3.13.0") && is_a("3.13.0", false, "3"));
        assert!(!is_a("3.11.7", false, "3.1") && !is_a("3.13.0", false, "3.13t") && !is_a("3.13.0", true, "3.13"));
        assert!(is_a("3.13.0", true, "3.13t") && is_a("3.13.0", true, "3.13.0t"));
        let pypy = interpreter("pypy", "3.10.14", false);
        assert!(pypy.is_a("pypy") && pypy.is_a("pypy3") && pypy.is_a("pypy3.10") && !pypy.is_a("3.10"));
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
