//! Which Pythons does this machine have? Looked for on PATH, where pyenv, uv and `make interpreters` keep theirs, and
//! where systems do.

use super::{Interpreter, InterpreterError};
use crate::guard::GuardError;
use crate::places;
use directories::BaseDirs;
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::{env, fs};

/// What was found.
pub struct Found {
    /// Those that answered, each once, by version.
    pub interpreters: Vec<Interpreter>,
    /// Those that did not.
    pub broken: Vec<Broken>,
}

/// Something that is called a Python but does not answer as one.
pub struct Broken {
    /// Where it is.
    pub path: PathBuf,
    /// What came instead.
    pub why: String,
}

/// Asks every Python that can be found who it is.
///
/// # Errors
/// The lab was stopped, or its guard was.
pub fn discover() -> Result<Found, GuardError> {
    let mut seen = HashSet::new();
    let mut found = Found { interpreters: Vec::new(), broken: Vec::new() };
    for path in candidates() {
        // python, python3 and python3.11 are often one file.
        if !path.canonicalize().is_ok_and(|file| seen.insert(file)) {
            continue;
        }
        match Interpreter::identify(path.as_os_str()) {
            Ok(interpreter) if !interpreter.is_wrapped() => found.interpreters.push(interpreter),
            Ok(launcher) => found.interpreters.extend(led_to(launcher, &mut seen)?),
            Err(InterpreterError::NoAnswer { why, .. }) => found.broken.push(Broken { path, why }),
            Err(InterpreterError::NotFound { .. }) => {}
            Err(InterpreterError::Guard(error)) => return Err(error),
        }
    }
    found.interpreters.sort_by_key(Interpreter::sort_key);
    Ok(found)
}

/// What a launcher leads to, once, however many lead there: by itself, unless it needs its launcher.
fn led_to(launcher: Interpreter, seen: &mut HashSet<PathBuf>) -> Result<Option<Interpreter>, GuardError> {
    let Ok(file) = launcher.path.canonicalize() else { return Ok(Some(launcher)) };
    if !seen.insert(file) {
        return Ok(None);
    }
    match Interpreter::identify(launcher.path.as_os_str()) {
        Err(InterpreterError::Guard(error)) => Err(error),
        direct => Ok(Some(direct.unwrap_or(launcher))),
    }
}

/// Files that are called as interpreters are, in the order in which one would want them.
fn candidates() -> Vec<PathBuf> {
    let home = BaseDirs::new();
    let below_home = |path: &str| home.as_ref().map(|home| home.home_dir().join(path));
    let variable = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);

    // A pyenv shim runs whatever version is set, or none: the versions themselves are asked instead.
    let pyenv = variable("PYENV_ROOT").or_else(|| below_home(".pyenv"));
    let shims = pyenv.as_ref().map(|root| root.join("shims"));
    let path = env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = env::split_paths(&path).filter(|folder| Some(folder) != shims.as_ref()).collect();

    let uv = variable("UV_PYTHON_INSTALL_DIR").or_else(|| below_home(".local/share/uv/python"));
    let brought = places::interpreters();
    for root in pyenv.map(|root| root.join("versions")).into_iter().chain(uv).chain(brought) {
        folders.extend(entries(&root).into_iter().map(|version| version.join("bin")));
    }
    folders.extend(["/usr/local/bin", "/usr/bin", "/bin"].map(PathBuf::from));
    folders.extend(entries(Path::new("/opt")).into_iter().map(|package| package.join("bin")));
    folders.iter().flat_map(|folder| entries(folder)).filter(|file| is_called_python(file)).collect()
}

/// What is in a folder, sorted; nothing if there is no such folder.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<_> = entries.map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

/// python, python3, python3.13, python3.13t, pypy, pypy3, pypy3.10; not python3-config, not pythonw.
fn is_called_python(file: &Path) -> bool {
    let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let Some(version) = name.strip_prefix("python").or_else(|| name.strip_prefix("pypy")) else { return false };
    let version = version.strip_suffix('t').unwrap_or(version);
    version.chars().all(|letter| letter.is_ascii_digit() || letter == '.') && file.is_file()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interpreters_are_told_from_their_companions_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let is_called = |name: &str| {
            let file = folder.path().join(name);
            fs::write(&file, "").unwrap();
            is_called_python(&file)
        };
        for name in ["python", "python2.7", "python3", "python3.13", "python3.13t", "pypy", "pypy3", "pypy3.10"] {
            assert!(is_called(name), "{name}");
        }
        for name in ["python3-config", "pythonw", "python3.13-gdb.py", "ipython", "pypy-build", "xpython"] {
            assert!(!is_called(name), "{name}");
        }
        assert!(!is_called_python(Path::new("/no/such/python")));
    }
}
