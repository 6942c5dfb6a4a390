//! `busy pythons`: the interpreters of this machine.

use super::output::{Output, OutputError, note};
use crate::interpreter::{Found, discover};
use crate::process::SupervisorError;
use crate::results::{Interpreter, path_text};
use crate::show;
use comfy_table::{ContentArrangement, Table};
use std::path::Path;

/// The reason why the interpreters could not be listed.
#[derive(Debug, thiserror::Error)]
pub enum PythonsError {
    /// The list can't be written.
    #[error(transparent)]
    Output(#[from] OutputError),
    /// The command was interrupted, or a supervisor was lost.
    #[error(transparent)]
    Supervisor(#[from] SupervisorError),
}

/// Prints the interpreters, or writes them as JSON. Those that do not answer are named on stderr, and in the JSON.
///
/// # Errors
/// See [`PythonsError`].
pub fn pythons(json: Option<&Path>) -> Result<(), PythonsError> {
    let mut output = Output::open(json)?;
    let found = discover()?;
    output.write(&as_json(&found), || format!("{}\n", table(&found)))?;
    for broken in &found.broken {
        note(&format!("{} does not answer as a Python: {}", path_text(&broken.path), broken.reason));
    }
    Ok(())
}

fn table(found: &Found) -> Table {
    let mut table = show::table(["-p", "implementation", "GIL", "Python.h", "path"]);
    let yes_no = |yes: bool| if yes { "yes" } else { "no" };
    for interpreter in &found.interpreters {
        let has_headers = interpreter.include.join("Python.h").is_file();
        table.add_row([
            &interpreter.name(),
            &interpreter.implementation,
            yes_no(interpreter.gil),
            yes_no(has_headers),
            &path_text(&interpreter.command),
        ]);
    }
    // A path is to be copied, so none is wrapped.
    table.set_content_arrangement(ContentArrangement::Disabled);
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
        .map(|broken| serde_json::json!({ "path": path_text(&broken.path), "reason": broken.reason }));
    serde_json::json!({
        "schema": 1,
        "interpreters": found.interpreters.iter().map(entry).collect::<Vec<_>>(),
        "broken": broken.collect::<Vec<_>>(),
    })
}
