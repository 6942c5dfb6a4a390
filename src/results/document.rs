//! One file of results.

use super::RunResult;
use serde::{Deserialize, Serialize};

/// A file of results, of experiments or of checks. Each result names its own machine, so one document can hold the results of
/// many.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Document<R = RunResult> {
    /// The version of this layout.
    pub schema: u32,
    /// The start of the command that wrote the file, RFC 3339. Each result has a start of its own, which is earlier if
    /// `busy run --resume` took it over.
    pub started_at: String,
    /// The results, in the order of measurement.
    pub results: Vec<R>,
}

/// The version of the layout that this version of busy writes.
pub const SCHEMA: u32 = 1;

/// Returns the present time, RFC 3339.
pub fn now() -> String {
    jiff::Timestamp::now().to_string()
}

impl<R> Document<R> {
    /// Returns a document without results, started now.
    pub fn new() -> Self {
        Self { schema: SCHEMA, started_at: now(), results: Vec::new() }
    }
}

impl<R> Default for Document<R> {
    fn default() -> Self {
        Self::new()
    }
}
