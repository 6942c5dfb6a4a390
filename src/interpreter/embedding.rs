//! The query for the files that a C program needs to embed an interpreter, and its answer.

use super::error::InterpreterError;
use super::query::{ask, exact};
use crate::results::Interpreter;
use serde::Deserialize;
use std::path::PathBuf;

/// The files that `python3-config --embed --ldflags` names, but correct also for an interpreter that was moved; and the C
/// library that it runs on, which may be newer than the system's.
#[derive(Debug, Deserialize)]
pub struct Embedding {
    /// The interpreter as a shared library (INSTSONAME), if it has one.
    #[serde(deserialize_with = "optional")]
    pub library: Option<PathBuf>,
    /// The name of that library.
    pub name: String,
    /// The dynamic linker that the interpreter runs under, if it is known.
    #[serde(deserialize_with = "optional")]
    pub loader: Option<PathBuf>,
    /// The C library that it runs on, if it is known.
    #[serde(deserialize_with = "optional")]
    pub libc: Option<PathBuf>,
    /// The place of its standard library, in the form of PYTHONHOME.
    #[serde(deserialize_with = "exact")]
    pub home: PathBuf,
}

/// The query, for CPython 3.12 and later. A path counts only if the file exists: sysconfig keeps the paths of the place that
/// the interpreter was built for.
const QUERY: &str = r#"
import json, os, sys, sysconfig
def get(name):
    return os.fsencode(sysconfig.get_config_var(name) or "")
with open("/proc/self/maps", "rb") as maps:
    mapped = sorted({line.split(None, 5)[5].rstrip(b"\n") for line in maps if b"/" in line})
def first(paths):
    return next((path.decode("latin-1") for path in paths if os.path.isfile(path)), None)
def loaded(*beginnings):
    return first(path for path in mapped if os.path.basename(path).startswith(beginnings))
name = get("INSTSONAME")
near = os.path.join(os.fsencode(sys.base_exec_prefix), b"lib")
folders = [near, os.path.join(near, get("MULTIARCH")), get("LIBDIR")]
libraries = [path for path in mapped if os.path.basename(path) == name] + [os.path.join(folder, name) for folder in folders]
answer = {
    "library": first(libraries) if b".so" in name else None,
    "name": name.decode("latin-1"),
    "loader": loaded(b"ld-"),
    "libc": loaded(b"libc.so", b"libc-"),
    "home": os.fsencode(sys.base_prefix + ":" + sys.base_exec_prefix).decode("latin-1"),
}
os.write(1, ("\nbusy-interpreter " + json.dumps(answer) + "\n").encode("ascii"))
"#;

#[derive(Deserialize)]
struct Exact(#[serde(deserialize_with = "exact")] PathBuf);

fn optional<'a, D: serde::Deserializer<'a>>(deserializer: D) -> Result<Option<PathBuf>, D::Error> {
    Ok(Option::<Exact>::deserialize(deserializer)?.map(|Exact(path)| path))
}

/// Returns the files that a C program needs to embed `interpreter`, CPython 3.12 or later.
///
/// # Errors
/// It does not answer the query.
pub fn embedding(interpreter: &Interpreter) -> Result<Embedding, InterpreterError> {
    ask(&interpreter.command, QUERY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_keeps_every_byte_or_is_absent() {
        let answer =
            r#"{"library": "/caf\u00c3\u00a9/\u00ff.so", "name": "x.so", "loader": null, "libc": null, "home": "/:/"}"#;
        let embedding: Embedding = serde_json::from_str(answer).unwrap();
        assert_eq!(embedding.library.unwrap().as_os_str().as_encoded_bytes(), b"/caf\xc3\xa9/\xff.so");
        assert!(embedding.loader.is_none() && embedding.libc.is_none());
    }

    #[test]
    fn the_query_starts_its_answer_with_the_mark() {
        assert!(QUERY.contains(&format!("\"\\n{}\"", crate::interpreter::query::MARK)));
    }
}
