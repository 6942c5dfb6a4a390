//! From the names that a user gives to interpreters.

use super::discovery::{discover, find_version};
use super::error::InterpreterError;
use super::query;
use crate::results::Interpreter;
use rustix::fs::{Access, access};
use std::env;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{self, Path, PathBuf};

/// Identifies the interpreter that `command` runs, a path or a name on PATH.
///
/// # Errors
/// [`InterpreterError::NoAnswer`] if it can't be started, fails, hangs, or answers something else.
pub fn identify(command: &OsStr) -> Result<Interpreter, InterpreterError> {
    query::identify(&absolute(command))
}

/// Returns the machine's default Python: `python3`, or else `python`.
///
/// # Errors
/// As [`identify`] for `python3`, if `python` fails too.
pub fn default() -> Result<Interpreter, InterpreterError> {
    identify("python3".as_ref()).or_else(|error| identify("python".as_ref()).map_err(|_| error))
}

/// Returns the interpreters that `names` stand for: versions (`3.13`, `3.13t`, `2.7.18`, `pypy3`), `all`, paths, and commands on
/// PATH; without any name, the machine's default. Only interpreters that may be meant are started.
///
/// # Errors
/// The first name that stands for no interpreter.
pub fn resolve(names: &[OsString]) -> Result<Vec<Interpreter>, InterpreterError> {
    if names.is_empty() {
        return Ok(vec![default()?]);
    }
    let mut resolved = Vec::new();
    for name in names {
        // A name that is not UTF-8 is not a version.
        match name.to_str() {
            Some("all") => resolved.extend(discover()?.interpreters),
            Some(version) if is_version(version) => match find_version(version)? {
                Some(interpreter) => resolved.push(interpreter),
                None => {
                    let found = discover()?.interpreters.iter().map(Interpreter::name).collect();
                    return Err(InterpreterError::NotFound { version: version.into(), found });
                }
            },
            _ => resolved.push(identify(name)?),
        }
    }
    Ok(resolved)
}

/// Returns true for a name that looks like a version and not like a path.
fn is_version(name: &str) -> bool {
    (name.starts_with(|first: char| first.is_ascii_digit()) || name.starts_with("pypy")) && !name.contains('/')
}

/// Returns `command` as an absolute path; unchanged if it is not on PATH.
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
