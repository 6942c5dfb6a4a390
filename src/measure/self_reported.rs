//! A script that measures itself and prints its metrics as one line of JSON: `{"metrics": {...}}`, `{"skipped": "reason"}` or
//! `{"failed": "reason"}`. Lines before it may report what the script is doing, `{"phase": {"now": "during the setup", "advice":
//! "..."}}`, in case it ends without metrics; the advice is for a time-out.

use super::{MeasureError, Order, excerpt};
use crate::process::{Event, How, Spec, Supervised};
use crate::results::Case;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// The limits of a case, and its requirements in addition to the interpreter.
#[derive(Debug, Clone)]
pub struct Bounds {
    /// The time-out, in seconds.
    pub timeout_s: f64,
    /// The maximum number of processes, including the process of the script.
    pub max_processes: usize,
    /// A program to run instead of the interpreter and the script, with the same arguments.
    pub program: Option<PathBuf>,
    /// Folders from which the interpreter imports.
    pub python_path: Vec<PathBuf>,
    /// The PYTHONHOME of a program that embeds its interpreter.
    pub python_home: Option<OsString>,
}

impl Bounds {
    /// Returns the limits for a script that starts a few processes and has no requirements except its interpreter.
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
    Phase(Phase),
}

/// What a script is doing.
#[derive(Deserialize)]
struct Phase {
    now: String,
    advice: String,
}

/// Runs a case and returns its metrics, not yet judged.
///
/// # Errors
/// The same as [`run`].
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
    let (metrics, wall) = run(&spec)?;
    Ok(Case {
        case: order.case.into(),
        variant: order.variant.map(Into::into),
        wall_s: wall.as_secs_f64(),
        cpu: None,
        metrics,
        judgement: None,
        missing: BTreeMap::new(),
    })
}

/// Runs the script and returns its metrics, and the time until it printed them.
///
/// # Errors
/// [`MeasureError::Skipped`] or [`MeasureError::Failed`], with the reason that the script reports; also
/// [`MeasureError::Failed`] if the script prints no metrics and no reason.
pub(super) fn run<M: DeserializeOwned>(spec: &Spec) -> Result<(M, Duration), MeasureError> {
    let start = Instant::now();
    let child = Supervised::start(spec)?;
    let (mut line, mut other, mut phase) = (None, None, None);
    let ended = loop {
        match child.next()? {
            Event::Started(_) => {}
            // Other lines may come from the programs and modules that the script runs.
            Event::Line(text) => match serde_json::from_str::<Line<M>>(&text) {
                Ok(Line::Phase(now)) => phase = Some(now),
                Ok(_) if line.is_some() => {
                    return Err(MeasureError::Failed("expected one line of metrics, found a second".into()));
                }
                Ok(found) => line = Some((found, start.elapsed())),
                Err(error) => other = Some(format!("found {}: {error}", excerpt(&text))),
            },
            Event::Ended(ended) => break ended,
        }
    };
    // A line that is no report may come from anything that the script runs, and explains less than the phase.
    if let (None, Some(phase)) = (&line, phase) {
        let advice = if matches!(ended.how, How::TimedOut(_)) { format!(". {}", phase.advice) } else { String::new() };
        return Err(MeasureError::Failed(ended.during(&phase.now) + &advice));
    }
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
