//! `busy list`: the experiments.

use crate::experiments;
use crate::publish::{NewFile, PublishError};
use crate::table::LINES;
use comfy_table::Table;
use std::path::Path;

/// Shows them on stdout, or writes them as JSON.
///
/// # Errors
/// The JSON file can't be written.
pub fn list(json: Option<&Path>) -> Result<(), PublishError> {
    let entry = |experiment: &experiments::Experiment| serde_json::json!({ "name": experiment.name, "slides": experiment.slides, "shows": experiment.shows });
    let text = || format!("{:#}\n", serde_json::json!({ "schema": 1, "experiments": experiments::ALL.map(entry) }));
    match json {
        Some(path) if path == Path::new("-") => anstream::print!("{}", text()),
        Some(path) => drop(NewFile::open(path)?.publish(text().as_bytes())?),
        None => {
            let mut table = Table::new();
            table.load_style(LINES).set_header(["name", "slides", "shows"]);
            for experiment in experiments::ALL {
                table.add_row([experiment.name, experiment.slides, experiment.shows]);
            }
            anstream::println!("{table}");
        }
    }
    Ok(())
}
