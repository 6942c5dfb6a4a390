//! The query that identifies an interpreter, and its answer.

use super::error::InterpreterError;
use crate::process::{Output, Spec, Supervised, SupervisorError, batch};
use crate::results::{Interpreter, path_text};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// The start of the line with the answer: start-up files (sitecustomize, .pth) may print lines of their own.
pub(super) const MARK: &str = "busy-interpreter ";

/// The query, for 2.7 and later. It writes the answer past sys.stdout, which start-up files may have replaced and
/// PYTHONIOENCODING may have given any encoding, and on a line of its own, whatever is printed before or after it.
const QUERY: &str = r#"
import json, os, platform, sys, sysconfig
get = sysconfig.get_config_var
def exact(path):
    return (path if bytes is str else os.fsencode(path)).decode("latin-1")
answer = {
    "version": platform.python_version(),
    "version_info": list(sys.version_info[:2]),
    "implementation": platform.python_implementation().lower(),
    "implementation_version": ".".join(map(str, getattr(sys, "pypy_version_info", ())[:3])) or None,
    "gil": getattr(sys, "_is_gil_enabled", lambda: True)(),
    "free_threaded": bool(get("Py_GIL_DISABLED")),
    "path": exact(sys.executable or ""),
    "build_flags": get("CONFIG_ARGS") or "",
    "include": exact(sysconfig.get_paths()["include"]),
    "suffix": get("EXT_SUFFIX") or get("SO") or ".so",
}
os.write(1, ("\nbusy-interpreter " + json.dumps(answer) + "\n").encode("ascii"))
"#;

/// The time-out of the query, in seconds: an interpreter on a slow disk, not yet cached, takes seconds.
const PATIENCE_S: f64 = 10.0;

#[derive(Deserialize)]
struct Answer {
    version: String,
    version_info: (u32, u32),
    implementation: String,
    implementation_version: Option<String>,
    gil: bool,
    free_threaded: bool,
    #[serde(deserialize_with = "exact")]
    path: PathBuf,
    build_flags: String,
    #[serde(deserialize_with = "exact")]
    include: PathBuf,
    suffix: String,
}

/// Reads a path of any bytes. JSON has no strings of bytes, so each byte is sent as the character with its number.
pub(super) fn exact<'a, D: Deserializer<'a>>(deserializer: D) -> Result<PathBuf, D::Error> {
    let text = String::deserialize(deserializer)?;
    let bytes: Result<Vec<u8>, _> = text.chars().map(|character| u8::try_from(u32::from(character))).collect();
    bytes.map(|bytes| OsString::from_vec(bytes).into()).map_err(serde::de::Error::custom)
}

/// Runs the query. What is no Python may show its arguments in an error message, which this keeps short.
const RUN: &str = "import os; exec(os.environ['BUSY_QUERY'])";

/// Variables for `query`: with PYTHONINSPECT set, the interpreter would go on with a prompt. An empty value turns it off.
fn variables(query: &str) -> [(&str, &str); 2] {
    [("BUSY_QUERY", query), ("PYTHONINSPECT", "")]
}

/// Identifies the interpreter at `command`, an absolute path.
pub(super) fn identify(command: &Path) -> Result<Interpreter, InterpreterError> {
    let answer: Answer = ask(command, QUERY)?;
    Ok(answer.interpreter(command))
}

/// Identifies the interpreters at `commands`, absolute paths, under one supervisor. The result of one that does not
/// answer is the reason.
pub(super) fn identify_all(commands: &[PathBuf]) -> Result<Vec<Result<Interpreter, String>>, SupervisorError> {
    let alone = |command: &PathBuf| match identify(command) {
        Ok(interpreter) => Ok(Ok(interpreter)),
        Err(InterpreterError::Supervisor(error)) => Err(error),
        Err(InterpreterError::NoAnswer { reason, .. }) => Ok(Err(reason)),
        Err(other) => Ok(Err(other.to_string())),
    };
    match commands {
        [] => return Ok(Vec::new()),
        [command] => return Ok(vec![alone(command)?]),
        _ => {}
    }
    let outputs = batch(commands, &["-c".as_ref(), RUN.as_ref()], &variables(QUERY), PATIENCE_S)?;
    let answers = commands.iter().zip(outputs).map(|(command, output)| match output {
        Some(output) => Ok(answer::<Answer>(output).map(|answer| answer.interpreter(command))),
        // Another one of the batch broke its bounds, and this one was ended with it.
        None => alone(command),
    });
    answers.collect()
}

/// Returns the answer of `command` to `query`, a script that writes its answer after [`MARK`].
pub(super) fn ask<A: DeserializeOwned>(command: &Path, query: &str) -> Result<A, InterpreterError> {
    let mut spec = Spec::new([command.as_os_str(), "-c".as_ref(), RUN.as_ref()], PATIENCE_S);
    spec.env.extend(variables(query).map(|(name, value)| (name.to_owned(), value.into())));
    let output = Supervised::start(&spec)?.output()?;
    answer(output).map_err(|reason| InterpreterError::NoAnswer { name: path_text(command), reason })
}

fn answer<A: DeserializeOwned>(output: Output) -> Result<A, String> {
    output.success().and_then(|lines| read(&lines))
}

fn read<A: DeserializeOwned>(lines: &[String]) -> Result<A, String> {
    let answer = lines.iter().rev().find_map(|line| serde_json::from_str(line.strip_prefix(MARK)?).ok());
    answer.ok_or_else(|| {
        let last = lines.iter().rfind(|line| !line.is_empty()).map_or("", String::as_str);
        let shown: String = last.chars().take(60).collect();
        format!("asked for its version, it answered {shown:?}")
    })
}

impl Answer {
    fn interpreter(self, command: &Path) -> Interpreter {
        Interpreter {
            version: self.version,
            implementation: self.implementation,
            implementation_version: self.implementation_version,
            gil: self.gil,
            free_threaded: self.free_threaded,
            path: self.path,
            command: command.to_path_buf(),
            build_flags: self.build_flags,
            version_info: self.version_info,
            include: self.include,
            suffix: self.suffix,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &str = r#"busy-interpreter {"version": "3.11.7", "version_info": [3, 11], "implementation": "cpython",
        "implementation_version": null, "gil": true, "free_threaded": false, "path": "/caf\u00c3\u00a9/\u00ff/python",
        "build_flags": "", "include": "/include", "suffix": ".so"}"#;

    fn lines(lines: &[&str]) -> Vec<String> {
        lines.iter().map(|line| line.replace('\n', " ")).collect()
    }

    #[test]
    fn the_answer_is_found_among_other_lines() {
        for around in [&[ANSWER][..], &["hello", ANSWER], &["{}", ANSWER, "", "bye"], &[ANSWER, "busy-interpreter {}"]]
        {
            assert_eq!(read::<Answer>(&lines(around)).unwrap().version, "3.11.7", "{around:?}");
        }
        for (other, shown) in
            [(&[][..], "\"\""), (&["{\"version\": 3}", ""], "version"), (&["busy-interpreter"], "busy")]
        {
            let why = read::<Answer>(&lines(other)).err().unwrap();
            assert!(why.contains(shown), "{other:?}: {why}");
        }
    }

    #[test]
    fn a_path_keeps_every_byte() {
        let path = read::<Answer>(&lines(&[ANSWER])).unwrap().path;
        assert_eq!(path.as_os_str().as_encoded_bytes(), b"/caf\xc3\xa9/\xff/python");
        assert!(read::<Answer>(&lines(&[&ANSWER.replace("\\u00ff", "\\u0100")])).is_err(), "no byte");
    }

    #[test]
    fn the_query_starts_its_answer_with_the_mark() {
        assert!(QUERY.contains(&format!("\"\\n{MARK}\"")));
    }
}
