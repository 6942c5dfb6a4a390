//! The Pythons of this machine: on PATH, where pyenv, uv and `make interpreters` put theirs, and in the system's folders.

use super::query::identify_all;
use crate::paths;
use crate::process::SupervisorError;
use crate::results::Interpreter;
use directories::BaseDirs;
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::{env, fs};

/// The Pythons that were found.
pub struct Found {
    /// Those that answered, each once, by version.
    pub interpreters: Vec<Interpreter>,
    /// Those that did not.
    pub broken: Vec<Broken>,
}

/// A file that has the name of a Python but does not answer as one.
pub struct Broken {
    /// Its path.
    pub path: PathBuf,
    /// The reason, such as its answer or its exit code.
    pub reason: String,
}

/// Finds every Python and identifies it.
///
/// # Errors
/// The lab was interrupted, or a supervisor was lost.
pub fn discover() -> Result<Found, SupervisorError> {
    identify_candidates(|_| true)
}

/// Finds the newest interpreter of `version` (`3.13`, `3.13t`, `pypy3`). It starts only the interpreters whose file names do not
/// exclude that version, and asks them for their version.
///
/// # Errors
/// As [`discover`].
pub(super) fn find_version(version: &str) -> Result<Option<Interpreter>, SupervisorError> {
    let found = identify_candidates(|file| may_be(file, version))?;
    // The last one is the newest.
    Ok(found.interpreters.into_iter().rfind(|interpreter| is_version_of(interpreter, version)))
}

fn identify_candidates(is_wanted: impl Fn(&Path) -> bool) -> Result<Found, SupervisorError> {
    let mut seen = HashSet::new();
    // python, python3 and python3.11 are often links to one file.
    let is_new = |file: &PathBuf| file.canonicalize().is_ok_and(|file| is_wanted(&file) && seen.insert(file));
    let files: Vec<PathBuf> = candidates().into_iter().filter(is_new).collect();
    let mut found = Found { interpreters: Vec::new(), broken: Vec::new() };
    let mut launchers = Vec::new();
    let answers = identify_all(&files)?;
    for (path, answer) in files.into_iter().zip(answers) {
        match answer {
            Ok(interpreter) if is_launcher(&interpreter) => launchers.push(interpreter),
            Ok(interpreter) => found.interpreters.push(interpreter),
            Err(reason) => found.broken.push(Broken { path, reason }),
        }
    }
    found.interpreters.extend(behind(launchers, &mut seen)?);
    found.interpreters.sort_by_key(sort_key);
    Ok(found)
}

/// Returns the interpreters that launchers lead to, each once. An interpreter that does not run without its launcher is
/// returned with it.
fn behind(launchers: Vec<Interpreter>, seen: &mut HashSet<PathBuf>) -> Result<Vec<Interpreter>, SupervisorError> {
    let mut behind = Vec::new();
    let mut direct = Vec::new();
    for launcher in launchers {
        match launcher.path.canonicalize().map(|file| seen.insert(file)) {
            Ok(true) => direct.push(launcher),
            Ok(false) => {}
            Err(_) => behind.push(launcher),
        }
    }
    let paths: Vec<PathBuf> = direct.iter().map(|launcher| launcher.path.clone()).collect();
    let answers = identify_all(&paths)?;
    behind.extend(direct.into_iter().zip(answers).map(|(launcher, answer)| answer.unwrap_or(launcher)));
    Ok(behind)
}

/// Returns true if the command is a wrapper, a launcher or a shim: a file other than the interpreter that it leads to.
fn is_launcher(interpreter: &Interpreter) -> bool {
    interpreter.command.canonicalize().ok() != interpreter.path.canonicalize().ok()
}

/// Returns true if `name` is the interpreter's version, or the beginning of it.
fn is_version_of(interpreter: &Interpreter, name: &str) -> bool {
    // 3.13 is the build with a GIL, 3.13t the free-threaded one.
    let split = |name: &str| (name.trim_end_matches('t').to_owned(), name.ends_with('t'));
    let ((own, own_t), (wanted, wanted_t)) = (split(&interpreter.name()), split(name));
    own_t == wanted_t && (begins(&own, &wanted) || name == interpreter.implementation)
}

/// Returns true if `version` is `beginning` or continues it after a dot: 3.11 does not begin with 3.1.
fn begins(version: &str, beginning: &str) -> bool {
    version == beginning || version.starts_with(&format!("{beginning}."))
}

/// Returns false if the name of `file`, without links, excludes that it is an interpreter of `version`: python3.11 is not 3.12.
fn may_be(file: &Path, version: &str) -> bool {
    let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let (own, wanted) = (name.trim_end_matches('t'), version.trim_end_matches('t'));
    let (own, wanted) = match (own.strip_prefix("python"), own.strip_prefix("pypy")) {
        (Some(own), _) if !wanted.starts_with("pypy") => (own, wanted),
        (_, Some(own)) if wanted.starts_with("pypy") => (own, wanted.trim_start_matches("pypy")),
        // `python` and `python3` may be PyPy's.
        (Some(own), _) => return !own.contains('.'),
        (None, Some(_)) => return false,
        (None, None) => return true,
    };
    begins(own, wanted) || begins(wanted, own) || own.is_empty() || wanted.is_empty()
}

/// Sorts CPython first, then by version, with the free-threaded build after the other.
fn sort_key(interpreter: &Interpreter) -> (bool, Vec<u32>, bool, PathBuf) {
    let numbers = interpreter.version.split(|letter: char| !letter.is_ascii_digit());
    let numbers = numbers.filter_map(|part| part.parse().ok()).collect();
    (interpreter.implementation != "cpython", numbers, interpreter.free_threaded, interpreter.path.clone())
}

/// Returns the files that have the name of an interpreter, in the order of preference.
fn candidates() -> Vec<PathBuf> {
    let home = BaseDirs::new();
    let below_home = |path: &str| home.as_ref().map(|home| home.home_dir().join(path));
    let variable = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);

    // A pyenv shim runs the version that is set, or none. So the shims' folder is skipped, and the versions' own are searched.
    let pyenv = variable("PYENV_ROOT").or_else(|| below_home(".pyenv"));
    let shims = pyenv.as_ref().map(|root| root.join("shims"));
    let path = env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = env::split_paths(&path).filter(|folder| Some(folder) != shims.as_ref()).collect();

    let uv = variable("UV_PYTHON_INSTALL_DIR").or_else(|| below_home(".local/share/uv/python"));
    let own = paths::interpreters();
    for root in pyenv.map(|root| root.join("versions")).into_iter().chain(uv).chain(own) {
        folders.extend(entries(&root).into_iter().map(|version| version.join("bin")));
    }
    folders.extend(["/usr/local/bin", "/usr/bin", "/bin"].map(PathBuf::from));
    folders.extend(entries(Path::new("/opt")).into_iter().map(|package| package.join("bin")));
    folders.iter().flat_map(|folder| entries(folder)).filter(|file| has_name_of_python(file)).collect()
}

/// Returns the entries of a folder, sorted; none if there is no such folder.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<_> = entries.map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

/// Returns true for python, python3, python3.13, python3.13t, pypy, pypy3, pypy3.10; false for python3-config and pythonw.
fn has_name_of_python(file: &Path) -> bool {
    let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let Some(version) = name.strip_prefix("python").or_else(|| name.strip_prefix("pypy")) else { return false };
    let version = version.strip_suffix('t').unwrap_or(version);
    version.chars().all(|letter| letter.is_ascii_digit() || letter == '.') && file.is_file()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interpreters_differ_from_their_companions_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let has_name = |name: &str| {
            let file = folder.path().join(name);
            fs::write(&file, "").unwrap();
            has_name_of_python(&file)
        };
        for name in ["python", "python2.7", "python3", "python3.13", "python3.13t", "pypy", "pypy3", "pypy3.10"] {
            assert!(has_name(name), "{name}");
        }
        for name in ["python3-config", "pythonw", "python3.13-gdb.py", "ipython", "pypy-build", "xpython"] {
            assert!(!has_name(name), "{name}");
        }
        assert!(!has_name_of_python(Path::new("/no/such/python")));
    }

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
    fn a_version_stands_for_the_interpreters_that_it_begins() {
        let is_a =
            |version, free_threaded, name: &str| is_version_of(&interpreter("cpython", version, free_threaded), name);
        assert!(is_a("3.13.0", false, "3.13") && is_a("3.13.0", false, "3.13.0") && is_a("3.13.0", false, "3"));
        assert!(!is_a("3.11.7", false, "3.1") && !is_a("3.13.0", false, "3.13t") && !is_a("3.13.0", true, "3.13"));
        assert!(is_a("3.13.0", true, "3.13t") && is_a("3.13.0", true, "3.13.0t"));
        let pypy = |name| is_version_of(&interpreter("pypy", "3.10.14", false), name);
        assert!(pypy("pypy") && pypy("pypy3") && pypy("pypy3.10") && !pypy("3.10"));
    }

    #[test]
    fn a_file_is_started_unless_its_name_excludes_the_version() {
        for (name, version) in [
            ("python3.12", "3.12"),
            ("python3.12", "3.12.1"),
            ("python3.13t", "3.13t"),
            ("python3.13", "3.13t"),
            ("python3.12", "3"),
            ("python", "3.12"),
            ("python3", "3.12"),
            ("python3", "pypy3"),
            ("pypy3.10", "pypy"),
            ("pypy3", "pypy3.10"),
            ("wrapper", "3.12"),
        ] {
            assert!(may_be(Path::new(name), version), "{name} for {version}");
        }
        for (name, version) in [
            ("python3.11", "3.12"),
            ("python3.1", "3.12"),
            ("python3.11", "3.1"),
            ("python2.7", "3"),
            ("python3.12", "pypy3"),
            ("pypy3.10", "3.10"),
        ] {
            assert!(!may_be(Path::new(name), version), "{name} for {version}");
        }
    }

    #[test]
    fn interpreters_are_sorted_by_version() {
        let mut all = [
            ("pypy", "3.10.14", false),
            ("cpython", "3.13.0", true),
            ("cpython", "3.13.0", false),
            ("cpython", "3.9.18", false),
        ]
        .map(|(implementation, version, free_threaded)| interpreter(implementation, version, free_threaded));
        all.sort_by_key(sort_key);
        assert_eq!(all.map(|interpreter| interpreter.name()), ["3.9.18", "3.13.0", "3.13.0t", "pypy3.10.14"]);
    }
}
