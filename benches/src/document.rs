//! The JSON document of a run, and its comparison with an earlier run.

use crate::row::Row;
use busy_lab::results::Host;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// A results file, in the format of the lab.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Document {
    /// Version of this format.
    pub schema: u32,
    /// Start of the first measurement, RFC 3339.
    pub started_at: String,
    /// Total duration.
    pub took_s: f64,
    /// The machine and its load.
    pub host: Host,
    /// The interpreter of the Python rows.
    pub python: Option<String>,
    /// The core of the observer, and the core of the measured program.
    pub pinned_to: [usize; 2],
    /// The rows with their figures.
    pub results: Vec<Row>,
}

impl Document {
    /// Reads the run saved at `path`.
    ///
    /// # Errors
    /// The file cannot be read, or is not a saved run; returns the message.
    pub fn read(path: &Path) -> Result<Self, String> {
        let expected = |error: &dyn std::fmt::Display| {
            format!("{}: expected a run saved by `make bench` (build/bench/*.json): {error}", path.display())
        };
        let text = std::fs::read(path).map_err(|error| expected(&error))?;
        serde_json::from_slice(&text).map_err(|error| expected(&error))
    }

    /// Returns true if the figure of `row` lies within the range of this run's rounds, or `None` if one of the two has
    /// no figure.
    pub fn agrees_with(&self, row: &Row) -> Option<bool> {
        let before = self.results.iter().find(|before| (&before.group, &before.row) == (&row.group, &row.row))?;
        Some(before.found?.contains(row.found?.median))
    }
}
