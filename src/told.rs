//! Runs one case whose script finds its figures itself: a line of JSON, `{"metrics": {...}}` or `{"skipped": "why"}`.

use crate::guard::{Event, Guarded, How};
use crate::measure::{MeasureError, Order, cut};
use crate::results::Case;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Instant;

/// What a case may take.
#[derive(Debug, Clone)]
pub struct Bounds {
    /// Time, in seconds.
    pub timeout_s: f64,
    /// Processes, the script's own among them.
    pub max_processes: usize,
    /// A program to run in the interpreter's and script's place: the same arguments behind it.
    pub program: Option<PathBuf>,
    /// Folders from which the interpreter imports.
    pub python_path: Vec<PathBuf>,
    /// Where a program that embeds its interpreter finds the standard library, as PYTHONHOME has it.
    pub python_home: Option<OsString>,
}

impl Bounds {
    /// For a script that starts some processes and needs nothing but its interpreter.
    pub fn new(timeout_s: f64) -> Self {
        Self { timeout_s, max_processes: 64, program: None, python_path: Vec::new(), python_home: None }
    }
}

/// What a script prints.
#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Told {
    Metrics(BTreeMap<String, serde_json::Value>),
    Skipped(String),
}

/// Runs the case and returns what it told, not yet judged.
///
/// # Errors
/// [`MeasureError::Failed`] names what the script did instead, [`MeasureError::Skipped`] why it could not.
pub fn ask(order: &Order, bounds: &Bounds) -> Result<Case, MeasureError> {
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
    let start = Instant::now();
    let child = Guarded::start(&spec)?;
    let (mut told, mut other) = (None, None);
    let ended = loop {
        match child.next()? {
            Event::Started(_) => {}
            // Not every line need be the script's: what it runs may print too.
            Event::Line(line) => match serde_json::from_str::<Told>(&line) {
                Ok(_) if told.is_some() => {
                    return Err(MeasureError::Failed("expected one line of metrics, found a second".into()));
                }
                Ok(found) => told = Some((found, start.elapsed())),
                Err(error) => other = Some(format!("found {}: {error}", cut(&line))),
            },
            Event::Ended(ended) => break ended,
        }
    };
    match told {
        Some((Told::Skipped(why), _)) => Err(MeasureError::Skipped(why)),
        Some((Told::Metrics(metrics), wall)) if ended.how == How::Exited(0) => Ok(Case {
            case: order.case.into(),
            variant: order.variant.map(Into::into),
            wall_s: wall.as_secs_f64(),
            cpu: None,
            metrics,
            judgement: None,
            missing: BTreeMap::new(),
        }),
        Some(_) => Err(MeasureError::Failed(ended.to_string())),
        None if other.is_none() && ended.how != How::Exited(0) => Err(MeasureError::Failed(ended.to_string())),
        None => {
            let found = other.unwrap_or_else(|| "found none".into());
            Err(MeasureError::Failed(format!("expected a line of JSON with its metrics, {found}; {ended}")))
        }
    }
}
