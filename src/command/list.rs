//! `busy list`: the experiments.

use super::output::{Output, OutputError};
use crate::{experiments, show};
use std::path::Path;

/// Prints the experiments, or writes them as JSON.
///
/// # Errors
/// The JSON file or stdout can't be written.
pub fn list(json: Option<&Path>) -> Result<(), OutputError> {
    let entry = |experiment: &&experiments::Experiment| serde_json::json!({ "name": experiment.name, "slides": experiment.slides, "shows": experiment.shows, "today": experiment.today });
    let mut output = Output::open(json)?;
    let json =
        serde_json::json!({ "schema": 1, "experiments": experiments::ALL.iter().map(entry).collect::<Vec<_>>() });
    output.write(&json, || {
        let mut table = show::table(["name", "slides", "shows"]);
        for experiment in experiments::ALL {
            table.add_row([experiment.name, experiment.slides, experiment.shows]);
        }
        format!("{table}\n")
    })
}
