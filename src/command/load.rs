//! `busy load`: a load of a given size, and the load that was achieved.

use super::arguments::LoadArguments;
use super::output::{Output, OutputError};
use crate::process::interrupt;
use busy_core::load::{Achieved, Load, LoadError};
use std::time::Duration;

/// The reason why there was no load, or no report of it.
#[derive(Debug, thiserror::Error)]
pub enum LoadCommandError {
    /// The load can't be run.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The report can't be written.
    #[error(transparent)]
    Output(#[from] OutputError),
}

/// Runs the load for its duration or until Ctrl-C, and reports the achieved load.
///
/// # Errors
/// See [`LoadCommandError`].
pub fn load(arguments: &LoadArguments) -> Result<(), LoadCommandError> {
    let load = Load {
        threads: arguments.cpu.into(),
        share: arguments.load,
        period: arguments.period,
        duration: arguments.duration.unwrap_or(Duration::MAX),
    };
    let mut output = Output::open(arguments.json.as_deref())?;
    let achieved = load.run(|| !interrupt::requested())?;
    Ok(output.write(&json(&load, &achieved), || text(&load, &achieved))?)
}

fn json(load: &Load, achieved: &Achieved) -> serde_json::Value {
    let thread = |thread: &busy_core::load::ThreadLoad| serde_json::json!({ "elapsed_s": thread.elapsed.as_secs_f64(), "cpu_s": thread.cpu.as_secs_f64() });
    serde_json::json!({ "schema": 1, "results": [{
        "kind": "load",
        "asked_percent": 100.0 * load.share,
        "achieved_percent": 100.0 * achieved.share(),
        "period_s": load.period.as_secs_f64(),
        "duration_s": achieved.elapsed.as_secs_f64(),
        "completed": achieved.completed,
        "threads": achieved.threads.iter().map(thread).collect::<Vec<_>>(),
    }]})
}

fn text(load: &Load, achieved: &Achieved) -> String {
    let threads = if load.threads == 1 { "1 thread".into() } else { format!("{} threads", load.threads) };
    let (asked, got) = (100.0 * load.share, 100.0 * achieved.share());
    let elapsed = achieved.elapsed.as_secs_f64();
    let mut text =
        format!("{threads} for {elapsed:.3} s: requested {asked:.3} % of a core each, achieved {got:.3} %\n");
    if load.threads > 1 {
        for (number, thread) in achieved.threads.iter().enumerate() {
            let percent = 100.0 * thread.cpu.as_secs_f64() / thread.elapsed.as_secs_f64();
            text += &format!("  thread {number}: {percent:.3} %\n");
        }
    }
    text
}
