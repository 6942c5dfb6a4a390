//! The question to an interpreter who it is, and its answer.

use super::{Interpreter, InterpreterError, text};
use crate::guard::{Guarded, Spec};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// Opens the line with the answer: start-up files (sitecustomize, .pth) may print lines of their own.
pub(super) const MARK: &str = "busy-interpreter ";

/// Asks an interpreter from 2.7 on. The answer is written past sys.stdout, which start-up files may have replaced and
/// PYTHONIOENCODING may have made anything, and stands on a line of its own whatever is printed before or after.
const QUESTION: &str = r#"
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

/// How long an interpreter may take to say who it is; a cold one on a slow disk takes seconds.
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

/// A path of any bytes, which JSON has no strings for: each byte comes as the character of its number.
pub(super) fn exact<'a, D: Deserializer<'a>>(deserializer: D) -> Result<PathBuf, D::Error> {
    let text = String::deserialize(deserializer)?;
    let bytes: Result<Vec<u8>, _> = text.chars().map(|character| u8::try_from(u32::from(character))).collect();
    bytes.map(|bytes| OsString::from_vec(bytes).into()).map_err(serde::de::Error::custom)
}

/// Asks `command`, an absolute path.
pub(super) fn ask(command: &Path) -> Result<Interpreter, InterpreterError> {
    let answer: Answer = put(command, QUESTION)?;
    Ok(Interpreter {
        version: answer.version,
        implementation: answer.implementation,
        implementation_version: answer.implementation_version,
        gil: answer.gil,
        free_threaded: answer.free_threaded,
        path: answer.path,
        command: command.to_path_buf(),
        build_flags: answer.build_flags,
        version_info: answer.version_info,
        include: answer.include,
        suffix: answer.suffix,
    })
}

/// What `command` answers to `question`, a script that writes its answer behind [`MARK`].
pub(super) fn put<A: DeserializeOwned>(command: &Path, question: &str) -> Result<A, InterpreterError> {
    let mut spec = Spec::new([command.as_os_str(), "-c".as_ref(), question.as_ref()], PATIENCE_S);
    // Empty is off: it would go on with a prompt.
    spec.env.insert("PYTHONINSPECT".into(), "".into());
    let output = Guarded::start(&spec)?.output()?;
    let answer = output.success().and_then(|lines| read(&lines));
    answer.map_err(|why| InterpreterError::NoAnswer { name: text(command), why })
}

fn read<A: DeserializeOwned>(lines: &[String]) -> Result<A, String> {
    let answer = lines.iter().rev().find_map(|line| serde_json::from_str(line.strip_prefix(MARK)?).ok());
    answer.ok_or_else(|| {
        let last = lines.iter().rfind(|line| !line.is_empty()).map_or("", String::as_str);
        let shown: String = last.chars().take(60).collect();
        format!("asked for its version, it answered {shown:?}")
    })
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
    fn the_answer_is_found_among_what_else_is_printed() {
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
    fn a_path_comes_through_with_every_byte() {
        let path = read::<Answer>(&lines(&[ANSWER])).unwrap().path;
        assert_eq!(path.as_os_str().as_encoded_bytes(), b"/caf\xc3\xa9/\xff/python");
        assert!(read::<Answer>(&lines(&[&ANSWER.replace("\\u00ff", "\\u0100")])).is_err(), "no byte");
    }

    #[test]
    fn the_question_opens_its_answer_with_the_mark() {
        assert!(QUESTION.contains(&format!("\"\\n{MARK}\"")));
    }
}
