//! A script that measures itself and prints its metrics as one line of JSON: `{"metrics": {...}}`, `{"skipped": "reason"}` or
//! `{"failed": "reason"}`.

use super::host::Load;
use super::{MeasureError, Order, excerpt};
use crate::process::{Event, How, Spec, Supervised};
use crate::results::Case;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// The bounds of a case, and what it needs beyond its interpreter.
#[derive(Debug, Clone)]
pub struct Bounds {
    /// The time-out, in seconds.
    pub timeout_s: f64,
    /// The largest number of processes, the script's own included.
    pub max_processes: usize,
    /// A program to run in place of interpreter and script, with the same arguments.
    pub program: Option<PathBuf>,
    /// Folders from which the interpreter imports.
    pub python_path: Vec<PathBuf>,
    /// The PYTHONHOME of a program that embeds its interpreter.
    pub python_home: Option<OsString>,
}

impl Bounds {
    /// Returns the bounds for a script that starts a few processes and needs nothing but its interpreter.
    pub fn new(timeout_s: f64) -> Self {
        Self { timeout_s, max_processes: 64, program: None, python_path: Vec::new(), python_home: None }
    }
}

/// The line that a script prints.
#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Line<M> {
    Metrics(M),
    Skipped(String),
    Failed(String),
}

/// Runs a case and returns its metrics, not yet judged.
///
/// # Errors
/// As [`run`].
pub fn measure_self_reported(order: &Order, bounds: &Bounds) -> Result<Case, MeasureError> {
    let mut spec = order.spec(bounds.timeout_s);
    spec.max_processes = bounds.max_processes;
    if let Some(program) = &bounds.program {
        spec.command.splice(..2, [program.into()]);
    }
    if !bounds.python_path.is_empty() {
        let path =
            std::env::join_paths(&bounds.python_path).map_err(|error| MeasureError::Failed(error.to_string()))?;
        spec.env.insert("PYTHONPATH".into(), path);
    }
    if let Some(home) = &bounds.python_home {
        spec.env.insert("PYTHONHOME".into(), home.clone());
    }
    let load = Load::begin();
    let (metrics, wall) = run(&spec)?;
    let found = load.and_then(|load| load.end());
    let mut missing = BTreeMap::new();
    if let Err(error) = &found {
        let reason = format!("can't read this machine's load from the kernel: {error}");
        missing.extend(["others_percent", "steal_percent"].map(|key| (key.into(), reason.clone())));
    }
    Ok(Case {
        case: order.case.into(),
        variant: order.variant.map(Into::into),
        wall_s: wall.as_secs_f64(),
        cpu: None,
        others_percent: found.as_ref().ok().map(|found| found.others_percent),
        steal_percent: found.ok().map(|found| found.steal_percent),
        metrics,
        judgement: None,
        missing,
    })
}

/// Runs the script and returns its metrics, and the time until it printed them.
///
/// # Errors
/// [`MeasureError::Skipped`] and [`MeasureError::Failed`], with the reason that the script reports; [`MeasureError::Failed`] too if
/// it does something else.
pub(super) fn run<M: DeserializeOwned>(spec: &Spec) -> Result<(M, Duration), MeasureError> {
    let start = Instant::now();
    let child = Supervised::start(spec)?;
    let (mut line, mut other) = (None, None);
    let ended = loop {
        match child.next()? {
            Event::Started(_) => {}
            // Further lines may come from the programs and modules that the script runs.
            Event::Line(text) => match serde_json::from_str::<Line<M>>(&text) {
                Ok(_) if line.is_some() => {
                    return Err(MeasureError::Failed("expected one line of metrics, found a second".into()));
                }
                Ok(found) => line = Some((found, start.elapsed())),
                Err(error) => other = Some(format!("found {}: {error}", excerpt(&text))),
            },
            Event::Ended(ended) => break ended,
        }
    };
    match line {
        Some((Line::Skipped(reason), _)) => Err(MeasureError::Skipped(reason)),
        Some((Line::Failed(reason), _)) => Err(MeasureError::Failed(reason)),
        Some((Line::Metrics(metrics), wall)) if ended.how == How::Exited(0) => Ok((metrics, wall)),
        Some(_) => Err(MeasureError::Failed(ended.to_string())),
        None if other.is_none() && ended.how != How::Exited(0) => Err(MeasureError::Failed(ended.to_string())),
        None => {
            let found = other.unwrap_or_else(|| "found none".into());
            Err(MeasureError::Failed(format!("expected a line of JSON with its metrics, {found}; {ended}")))
        }
    }
}
