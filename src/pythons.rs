//! `busy pythons`: the interpreters found.

use crate::guard::GuardError;
use crate::interpreter::{self, Found, Interpreter, discover};
use crate::output::{self, Output, OutputError};
use crate::table;
use comfy_table::Table;
use std::path::Path;

/// Why there is no list.
#[derive(Debug, thiserror::Error)]
pub enum PythonsError {
    /// It can't be written.
    #[error(transparent)]
    Output(#[from] OutputError),
    /// The guard failed, or Ctrl-C.
    #[error(transparent)]
    Guard(#[from] GuardError),
}

/// Shows them on stdout, or writes them as JSON. Those that don't answer are told on stderr, and in the JSON.
///
/// # Errors
/// See [`PythonsError`].
pub fn pythons(json: Option<&Path>) -> Result<(), PythonsError> {
    let mut output = Output::open(json).map_err(OutputError::from)?;
    let found = discover()?;
    output.write(&as_json(&found), || format!("{}\n", table(&found)))?;
    for broken in &found.broken {
        output::note(&format!("{} does not answer as a Python: {}", interpreter::text(&broken.path), broken.why));
    }
    Ok(())
}

fn table(found: &Found) -> Table {
    let mut table = table::new(["-p", "implementation", "GIL", "Python.h", "path"]);
    let yes_no = |yes: bool| if yes { "yes" } else { "no" };
    for interpreter in &found.interpreters {
        let has_headers = interpreter.include.join("Python.h").is_file();
        table.add_row([
            &interpreter.name(),
            &interpreter.implementation,
            yes_no(interpreter.gil),
            yes_no(has_headers),
            &interpreter::text(&interpreter.command),
        ]);
    }
    table
}

fn as_json(found: &Found) -> serde_json::Value {
    let entry = |interpreter: &Interpreter| {
        let mut entry = serde_json::json!(interpreter);
        entry["name"] = interpreter.name().into();
        entry
    };
    let broken = found
        .broken
        .iter()
        .map(|broken| serde_json::json!({ "path": interpreter::text(&broken.path), "reason": broken.why }));
    serde_json::json!({
        "schema": 1,
        "interpreters": found.interpreters.iter().map(entry).collect::<Vec<_>>(),
        "broken": broken.collect::<Vec<_>>(),
    })
}
