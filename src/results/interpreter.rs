//! The interpreter that a result was measured on, and its names for people.

use serde::{Deserialize, Serialize, Serializer};
use std::fmt::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// An interpreter, by its own account.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Interpreter {
    /// The exact version, such as "3.11.7". For implementations other than CPython, the version of the language.
    pub version: String,
    /// cpython, pypy, ...
    pub implementation: String,
    /// The implementation's own version, where it has one: "7.3.20".
    #[serde(skip_serializing_if = "Option::is_none")]
    pub implementation_version: Option<String>,
    /// False if no GIL is in force: a free-threaded build without PYTHON_GIL=1.
    pub gil: bool,
    /// True for a free-threaded build (3.13t and later).
    pub free_threaded: bool,
    /// The executable, by `sys.executable`.
    #[serde(serialize_with = "as_text")]
    pub path: PathBuf,
    /// The command that is run: as the user named it, since a wrapper may set variables that the executable needs.
    #[serde(serialize_with = "as_text")]
    pub command: PathBuf,
    /// The configuration (CONFIG_ARGS). Two builds of one version can behave differently.
    pub build_flags: String,
    /// Major and minor version.
    pub version_info: (u32, u32),
    /// The folder of its Python.h, if that is installed.
    #[serde(serialize_with = "as_text")]
    pub include: PathBuf,
    /// The suffix of its extension modules.
    pub suffix: String,
}

impl Interpreter {
    /// Returns "3.11.7", "3.13.0t" or "pypy3.10.14", as `-p` takes it.
    pub fn name(&self) -> String {
        let prefix = if self.implementation == "cpython" { "" } else { &self.implementation };
        format!("{prefix}{}{}", self.version, if self.free_threaded { "t" } else { "" })
    }

    /// Returns "CPython 3.11.7" or "PyPy 7.3.20 (Python 3.11.13)"; for a free-threaded build also whether its GIL is on.
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

    /// Returns true if nothing is known of it: the worker of a dask cluster that was to run it gave no result.
    pub fn is_unknown(&self) -> bool {
        self.version.is_empty()
    }

    /// Returns true before CPython 3.2, whose GIL is the talk's: released every 100 bytecodes, with a signal to all waiters.
    pub fn has_old_gil(&self) -> bool {
        self.implementation == "cpython" && self.version_info < (3, 2)
    }
}

/// Returns a path as text, in which a byte that is not UTF-8 stands as `\xff`.
pub fn path_text(path: &Path) -> String {
    let mut text = String::new();
    for chunk in path.as_os_str().as_bytes().utf8_chunks() {
        text.push_str(chunk.valid());
        chunk.invalid().iter().for_each(|byte| write!(text, "\\x{byte:02x}").expect("writing to a string can't fail"));
    }
    text
}

fn as_text<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&path_text(path))
}

#[cfg(test)]
impl Interpreter {
    /// Returns a CPython of that version, which nobody runs.
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
    use std::ffi::OsStr;

    #[test]
    fn the_title_of_a_free_threaded_build_says_whether_its_gil_is_on() {
        let mut free_threaded =
            Interpreter { gil: false, free_threaded: true, ..Interpreter::example("3.13.0", (3, 13)) };
        assert_eq!(free_threaded.title(), "CPython 3.13.0t without GIL");
        free_threaded.gil = true;
        assert_eq!(free_threaded.title(), "CPython 3.13.0t with its GIL switched on");
        assert_eq!(Interpreter::example("3.13.0", (3, 13)).title(), "CPython 3.13.0");
        let pypy = Interpreter {
            implementation: "pypy".into(),
            implementation_version: Some("7.3.17".into()),
            ..Interpreter::example("3.10.14", (3, 10))
        };
        assert_eq!(pypy.title(), "PyPy 7.3.17 (Python 3.10.14)");
    }

    #[test]
    fn a_path_that_is_not_text_is_shown_with_its_bytes() {
        assert_eq!(path_text(Path::new(OsStr::from_bytes(b"/caf\xc3\xa9/\xff\xfe/x"))), "/caf\u{e9}/\\xff\\xfe/x");
    }
}
