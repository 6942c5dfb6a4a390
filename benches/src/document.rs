//! A run as it is kept, and held against an earlier one.

use crate::row::Row;
use busy_lab::results::Host;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// One file of results, in the form of the lab's.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Document {
    /// Version of this layout.
    pub schema: u32,
    /// When the first measurement began, RFC 3339.
    pub started_at: String,
    /// How long all took.
    pub took_s: f64,
    /// The machine, and how loaded it was.
    pub host: Host,
    /// What called from Python.
    pub python: Option<String>,
    /// The cores of the observer and of what is measured.
    pub pinned_to: [usize; 2],
    /// The findings.
    pub results: Vec<Row>,
}

impl Document {
    /// The run kept at `path`.
    ///
    /// # Errors
    /// Why it can't be read as one.
    pub fn read(path: &Path) -> Result<Self, String> {
        let expected = |error: &dyn std::fmt::Display| {
            format!("{}: expected a run that `make bench` kept (build/bench/*.json): {error}", path.display())
        };
        let text = std::fs::read(path).map_err(|error| expected(&error))?;
        serde_json::from_slice(&text).map_err(|error| expected(&error))
    }

    /// Whether the figure of `row` lies among the rounds of this run; nothing if either has none.
    pub fn agrees_with(&self, row: &Row) -> Option<bool> {
        let before = self.results.iter().find(|before| (&before.group, &before.row) == (&row.group, &row.row))?;
        Some(before.found?.holds(row.found?.median))
    }
}
