//! Checks one statement on one interpreter: src/provision/scripts/check.py in a child process.

use super::{MeasureError, script_spec, self_reported};
use crate::results::{Interpreter, Verdict};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

/// The script's answer. A figure that could not be measured is None; then `reason` contains the reason.
#[derive(Debug, Deserialize)]
pub struct Answer {
    /// The verdict.
    pub verdict: Verdict,
    /// The share of the calls' time for which the calling thread holds the GIL.
    pub held_share: Option<f64>,
    /// The longest uninterrupted hold in one call.
    pub longest_hold_s: Option<f64>,
    /// The longest time that another thread waited for the GIL because of one call.
    pub longest_stall_s: Option<f64>,
    /// The lower bounds of those of these figures that other processes may have made larger.
    pub lower_bounds: BTreeMap<String, f64>,
    /// The number of calls.
    pub calls: u64,
    /// True if the verdict is inconclusive because of other processes.
    pub disturbed: bool,
    /// The reason for an inconclusive verdict, or a remark on any other verdict.
    pub reason: Option<String>,
}

/// Checks `statement` after `setup` on `interpreter`. `libbusy` is the library whose GIL meter is used, and `script` is
/// the script of the check.
///
/// # Errors
/// [`MeasureError::Skipped`] if the setup raises ImportError; [`MeasureError::Failed`] if the setup or the statement
/// raises any other exception, takes longer than `timeout`, or ends the interpreter.
pub fn check(
    interpreter: &Interpreter,
    script: &Path,
    libbusy: &Path,
    setup: &str,
    statement: &str,
    patience: Duration,
    timeout: Duration,
) -> Result<Answer, MeasureError> {
    let order = serde_json::json!({
        "setup": setup,
        "statement": statement,
        "libbusy": libbusy.display().to_string(),
        "patience_s": patience.as_secs_f64(),
    });
    let spec = script_spec(interpreter, script, [order.to_string().into()], timeout.as_secs_f64());
    self_reported::run(&spec).map(|(answer, _)| answer)
}
