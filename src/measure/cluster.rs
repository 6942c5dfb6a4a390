//! Has the workers of a dask cluster run this command, each on its own host: by a script on a Python that has distributed
//! (provision/scripts/dask_hosts.py).

use super::script_spec;
use crate::process::{Event, How, Supervised, SupervisorError};
use crate::results::{Interpreter, Worker};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::path::Path;
use std::time::Duration;

/// The time-out for the connection to the scheduler.
const CONNECT: Duration = Duration::from_secs(10);

/// The time-out of the script. It ends itself earlier: only it knows how many workers take turns.
const LONGEST: Duration = Duration::from_secs(30 * 24 * 3600);

/// The largest number of bytes of the results of all workers.
const MOST: u64 = 4 << 30;

/// What each worker runs: a command line of busy, into which the worker's own interpreter is inserted unless one is named.
#[derive(Debug, Serialize)]
pub struct Unit {
    /// The subcommand and its options.
    pub options: Vec<String>,
    /// Whether the options name an interpreter.
    pub has_python: bool,
    /// The operands, after `--`.
    pub operands: Vec<String>,
}

/// A message of the script, a line of JSON.
#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Line {
    Missing(String),
    Refused(String),
    Workers(Vec<Worker>),
    Row(Row),
}

#[derive(Deserialize)]
struct Row {
    worker: usize,
    unit: usize,
    document: Option<Value>,
    failed: Option<String>,
    #[serde(default)]
    notes: Vec<String>,
}

/// What is heard of a cluster.
pub enum Heard {
    /// The workers that were chosen. It comes first.
    Workers(Vec<Worker>),
    /// The end of a unit on a worker.
    Row {
        /// The number of the worker.
        worker: usize,
        /// The number of the unit.
        unit: usize,
        /// The document that the worker's busy wrote, or the reason why it wrote none.
        found: Result<Value, String>,
        /// The lines in which it names what it skipped.
        notes: Vec<String>,
    },
}

/// The reason why a cluster gave no results, or not all of them.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// The interpreter has no distributed.
    #[error("{0}")]
    NoDistributed(String),
    /// There is no cluster, or it has no workers.
    #[error("{0}")]
    Refused(String),
    /// The script failed.
    #[error("the script that talks to the cluster failed: {0}")]
    Failed(String),
    /// The command was interrupted, or a supervisor was lost.
    #[error(transparent)]
    Supervisor(#[from] SupervisorError),
}

/// Runs `units` on the workers of the cluster with this scheduler, each within `timeout`, and reports what is heard to `hear`, as
/// it comes. `python` runs the `script`.
///
/// # Errors
/// See [`ClusterError`]. What goes wrong on one worker is a row.
pub fn run_on_cluster(
    python: &Interpreter,
    script: &Path,
    scheduler: &str,
    units: &[Unit],
    timeout: Duration,
    mut hear: impl FnMut(Heard),
) -> Result<(), ClusterError> {
    let order = serde_json::json!({
        "scheduler": scheduler,
        "connect_s": CONNECT.as_secs_f64(),
        "timeout_s": timeout.as_secs_f64(),
        "units": units,
    });
    let mut spec = script_spec(python, script, [order.to_string().into()], LONGEST.as_secs_f64());
    spec.max_output = MOST;
    let child = Supervised::start(&spec)?;
    let mut strange = None;
    let ended = loop {
        match child.next()? {
            Event::Started(_) => {}
            Event::Line(line) => match serde_json::from_str(&line) {
                Ok(Line::Missing(reason)) => return Err(ClusterError::NoDistributed(reason)),
                Ok(Line::Refused(reason)) => return Err(ClusterError::Refused(reason)),
                Ok(Line::Workers(workers)) => hear(Heard::Workers(workers)),
                Ok(Line::Row(Row { worker, unit, document, failed, notes })) => {
                    let found = document.ok_or_else(|| failed.unwrap_or_else(|| "no reason was given".into()));
                    hear(Heard::Row { worker, unit, found, notes });
                }
                // Start-up files of a Python may print lines of their own.
                Err(error) => {
                    strange = Some(format!("expected a line of JSON, found {}: {error}", super::excerpt(&line)))
                }
            },
            Event::Ended(ended) => break ended,
        }
    };
    match ended.how {
        How::Exited(0) => Ok(()),
        _ => Err(ClusterError::Failed(strange.unwrap_or_else(|| ended.to_string()))),
    }
}
