//! From the names that a user gives to interpreters.

use super::discovery::{discover, find_version};
use super::error::InterpreterError;
use super::query;
use crate::results::{Interpreter, path_text};
use rustix::fs::{Access, access};
use std::collections::HashSet;
use std::env;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{self, Path, PathBuf};

/// The interpreters that a list of names stands for.
pub struct Resolved {
    /// The interpreters, in the order of the names; each command once.
    pub interpreters: Vec<Interpreter>,
    /// An error for each name that stands for none.
    pub unknown: Vec<InterpreterError>,
}

/// Finds the interpreters that `names` stand for: versions (`3.13`, `3.13t`, `2.7.18`, `pypy3`), `all`, paths, folders of virtual
/// environments, and commands on PATH; without any name, the default. Only interpreters that may be meant are started.
///
/// # Errors
/// No name stands for an interpreter; then the error is that of the first one. Or the lab was interrupted, or a supervisor was
/// lost.
pub fn resolve(names: &[OsString]) -> Result<Resolved, InterpreterError> {
    if names.is_empty() {
        return Ok(Resolved { interpreters: vec![default()?], unknown: Vec::new() });
    }
    let mut resolved = Resolved { interpreters: Vec::new(), unknown: Vec::new() };
    let mut known = HashSet::new();
    for name in names {
        match resolve_one(name) {
            Ok(found) => {
                resolved.interpreters.extend(found.into_iter().filter(|one| known.insert(one.command.clone())))
            }
            Err(InterpreterError::Supervisor(error)) => return Err(error.into()),
            Err(error) => resolved.unknown.push(error),
        }
    }
    if resolved.interpreters.is_empty() && !resolved.unknown.is_empty() {
        return Err(resolved.unknown.swap_remove(0));
    }
    Ok(resolved)
}

fn resolve_one(name: &OsStr) -> Result<Vec<Interpreter>, InterpreterError> {
    // A name that is not UTF-8 is not a version.
    match name.to_str() {
        Some("all") => Ok(discover()?.interpreters),
        Some(version) if is_version(version) => match find_version(version)? {
            Some(interpreter) => Ok(vec![interpreter]),
            None => {
                let found = discover()?.interpreters.iter().map(Interpreter::name).collect();
                Err(InterpreterError::NotFound { version: version.into(), found })
            }
        },
        _ => Ok(vec![identify(name)?]),
    }
}

/// Identifies the interpreter that `command` runs: a path, the folder of a virtual environment, or a name on PATH.
///
/// # Errors
/// [`InterpreterError::NoAnswer`] if it can't be started, fails, hangs, or answers something else;
/// [`InterpreterError::NoSuchFile`] if there is none of that name; [`InterpreterError::NoEnvironment`] if a folder has no
/// interpreter.
pub fn identify(command: &OsStr) -> Result<Interpreter, InterpreterError> {
    let path = absolute(command);
    if !path.exists() {
        return Err(InterpreterError::NoSuchFile(path_text(Path::new(command))));
    }
    query::identify(&if path.is_dir() { python_of(&path)? } else { path })
}

/// Returns the default interpreter: that of the active virtual environment, or else `python3` or `python` on PATH.
fn default() -> Result<Interpreter, InterpreterError> {
    if let Some(folder) = env::var_os("VIRTUAL_ENV").filter(|folder| !folder.is_empty()) {
        let python = python_of(Path::new(&folder)).and_then(|python| identify(python.as_os_str()));
        return python.map_err(|error| match error {
            InterpreterError::Supervisor(error) => error.into(),
            error => InterpreterError::ActiveEnvironment(error.into()),
        });
    }
    identify("python3".as_ref()).or_else(|error| identify("python".as_ref()).map_err(|_| error))
}

/// Returns the interpreter of the virtual environment `folder`.
fn python_of(folder: &Path) -> Result<PathBuf, InterpreterError> {
    let python = folder.join("bin/python");
    if python.is_file() { Ok(python) } else { Err(InterpreterError::NoEnvironment(path_text(folder))) }
}

/// Returns true for a name that looks like a version and not like a path.
fn is_version(name: &str) -> bool {
    (name.starts_with(|first: char| first.is_ascii_digit()) || name.starts_with("pypy")) && !name.contains('/')
}

/// Returns `command` as an absolute path: on PATH, or else a folder of that name. Unchanged if it is neither.
fn absolute(command: &OsStr) -> PathBuf {
    let named = Path::new(command);
    let mut found = named.to_path_buf();
    if !command.is_empty() && !command.as_bytes().contains(&b'/') {
        let path = env::var_os("PATH").unwrap_or_default();
        let mut files = env::split_paths(&path).map(|folder| folder.join(named));
        match files.find(|file| file.is_file() && access(file, Access::EXEC_OK).is_ok()) {
            Some(file) => found = file,
            None if found.is_dir() => {}
            None => return found,
        }
    }
    path::absolute(&found).unwrap_or(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_differ_from_paths_and_commands() {
        for version in ["3", "3.13t", "2.7.18", "pypy3", "pypy3.11.13"] {
            assert!(is_version(version), "{version}");
        }
        for other in ["python3", "./3.13", "pypy3/bin/pypy3", "all", ""] {
            assert!(!is_version(other), "{other}");
        }
    }

    #[test]
    fn a_command_becomes_a_path_that_is_valid_in_every_folder() {
        assert_eq!(absolute("/usr/bin/python3".as_ref()), Path::new("/usr/bin/python3"));
        assert_eq!(absolute("bin/python".as_ref()), env::current_dir().unwrap().join("bin/python"));
        let sh = absolute("sh".as_ref());
        assert!(sh.is_absolute() && sh.ends_with("sh") && sh.is_file(), "{sh:?}");
        assert_eq!(absolute("no-such-command".as_ref()), Path::new("no-such-command"));
        assert_eq!(absolute("".as_ref()), Path::new(""));
    }
}
