//! One file of results.

use super::RunResult;
use serde::{Deserialize, Serialize};

/// A file of results, of experiments or of checks. Each result names its own machine, so one document can hold the results of
/// many.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Document<R = RunResult> {
    /// The version of this layout.
    pub schema: u32,
    /// The time of the first measurement, RFC 3339.
    pub started_at: String,
    /// The results, in the order of measurement.
    pub results: Vec<R>,
}

impl<R> Document<R> {
    /// Returns a document without results, started now.
    pub fn new() -> Self {
        Self { schema: 1, started_at: jiff::Timestamp::now().to_string(), results: Vec::new() }
    }
}

impl<R> Default for Document<R> {
    fn default() -> Self {
        Self::new()
    }
}
