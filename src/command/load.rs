//! `busy load`: a load of a given size, and the load that was achieved.

use super::arguments::LoadArguments;
use super::output::{Output, OutputError, note};
use crate::measure::host;
use crate::process::interrupt;
use crate::results::{Document, Host};
use crate::show;
use busy_core::load::{Achieved, Load, LoadError, ThreadLoad};
use std::process::ExitCode;
use std::time::Duration;
use std::{io, thread};

/// The difference between the requested and the achieved load, in percent of a core, beyond which the load missed its target.
const TOLERANCE_PERCENT: f64 = 1.0;

/// The reason why there was no load, or no report of it.
#[derive(Debug, thiserror::Error)]
pub enum LoadCommandError {
    /// The load can't be run.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The state of the machine can't be read.
    #[error("can't read this machine's state from the kernel: {0}")]
    Host(io::Error),
    /// The report can't be written.
    #[error(transparent)]
    Output(#[from] OutputError),
}

/// Runs the load for its duration or until Ctrl-C, and reports the achieved load. The exit code is 1 if the load missed its
/// target.
///
/// # Errors
/// See [`LoadCommandError`].
pub fn load(arguments: &LoadArguments) -> Result<ExitCode, LoadCommandError> {
    let load = Load {
        threads: arguments.cpu.into(),
        share: arguments.load,
        period: arguments.period,
        duration: arguments.duration.unwrap_or(Duration::MAX),
    };
    let mut output = Output::open(arguments.json.as_deref())?;
    let mut document = Document::new();
    let others = host::Load::begin().map_err(LoadCommandError::Host)?;
    let achieved = load.run(|| !interrupt::requested())?;
    let host = others.end().and_then(|others| host::describe(others.others_percent)).map_err(LoadCommandError::Host)?;
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let reason = miss(&load, &achieved, cores);
    document.results.push(json(&load, &achieved, reason.as_deref(), &host));
    output.write(&document, || text(&load, &achieved))?;
    if let Some(reason) = &reason {
        note(&show::wrapped(reason));
    }
    // Ctrl-C is the usual end of a load without --for.
    let interrupted = interrupt::exit_code().filter(|_| !interrupt::by_ctrl_c());
    Ok(ExitCode::from(interrupted.unwrap_or(u8::from(reason.is_some()))))
}

/// Returns the reason why the load missed its target on a machine with so many cores; None if it did not.
fn miss(load: &Load, achieved: &Achieved, cores: usize) -> Option<String> {
    let (requested, got) = (100.0 * load.share, 100.0 * achieved.share());
    let differs = (got - requested).abs() > TOLERANCE_PERCENT;
    // A load that is ended in the middle of a period has used its share of the whole period already.
    let is_early = got > requested && !achieved.completed;
    if !differs || is_early {
        return None;
    }
    let target = format!("the load missed its target: requested {requested:.3} % of a core each, achieved {got:.3} %");
    let cause = if got > requested {
        "Starting and ending each period takes that much. Make --period longer.".into()
    } else {
        match achieved.run_delay_share().map(|share| 100.0 * share) {
            None => "The system does not report whether the threads had a core.".into(),
            // Where the run delay explains at least half of what is missing, it is the cause.
            Some(delay) if delay >= (requested - got) / 2.0 => {
                let advice = if load.threads > cores {
                    let cores = if cores == 1 { "1 core".into() } else { format!("{cores} cores") };
                    format!("This process may use {cores} only: lower --cpu or --load.")
                } else {
                    "Other processes used the cores, or a limit on CPU time is in force (cgroups): end them, or lower --load."
                        .into()
                };
                format!("No core was free for {delay:.1} % of the time (the threads' run delay). {advice}")
            }
            Some(delay) => format!(
                "The threads' run delay was only {delay:.1} % of the time: the hypervisor paused this machine, or ran other \
                 machines."
            ),
        }
    };
    Some(format!("{target}. {cause}"))
}

fn json(load: &Load, achieved: &Achieved, reason: Option<&str>, host: &Host) -> serde_json::Value {
    let seconds = |time: Duration| time.as_secs_f64();
    let thread = |thread: &ThreadLoad| {
        serde_json::json!({
            "elapsed_s": seconds(thread.elapsed),
            "cpu_s": seconds(thread.cpu),
            "run_delay_s": thread.run_delay.map(seconds),
        })
    };
    serde_json::json!({
        "kind": "load",
        "host": host,
        "requested_percent": 100.0 * load.share,
        "achieved_percent": 100.0 * achieved.share(),
        "period_s": seconds(load.period),
        "duration_s": seconds(achieved.elapsed),
        "completed": achieved.completed,
        "reason": reason,
        "threads": achieved.threads.iter().map(thread).collect::<Vec<_>>(),
    })
}

fn text(load: &Load, achieved: &Achieved) -> String {
    let threads = if load.threads == 1 { "1 thread".into() } else { format!("{} threads", load.threads) };
    let (requested, got) = (100.0 * load.share, 100.0 * achieved.share());
    let elapsed = achieved.elapsed.as_secs_f64();
    let mut text =
        format!("{threads} for {elapsed:.3} s: requested {requested:.3} % of a core each, achieved {got:.3} %\n");
    if load.threads > 1 {
        for (number, thread) in achieved.threads.iter().enumerate() {
            let percent = 100.0 * thread.cpu.as_secs_f64() / thread.elapsed.as_secs_f64();
            text += &format!("  thread {number}: {percent:.3} %\n");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the reason why a load of 40 % on `threads` threads and two cores missed its target.
    fn reason(threads: usize, cpu_ms: u64, run_delay_ms: Option<u64>, completed: bool) -> Option<String> {
        let duration = Duration::from_secs(1);
        let load = Load { threads, share: 0.4, period: Duration::from_millis(10), duration };
        let run_delay = run_delay_ms.map(Duration::from_millis);
        let thread = ThreadLoad { elapsed: duration, cpu: Duration::from_millis(cpu_ms), run_delay };
        miss(&load, &Achieved { elapsed: duration, threads: vec![thread; threads], completed }, 2)
    }

    #[test]
    fn a_load_within_a_percent_of_its_target_has_no_reason() {
        for cpu_ms in [391, 400, 409] {
            assert_eq!(reason(1, cpu_ms, Some(600), true), None);
        }
        assert_eq!(reason(1, 900, Some(0), false), None, "ended in the middle of its first period");
    }

    #[test]
    fn the_reason_for_a_miss_names_its_cause() {
        for (threads, cpu_ms, run_delay_ms, cause) in [
            (1, 300, Some(100), "No core was free for 10.0 % of the time"),
            (1, 300, Some(100), "Other processes"),
            (3, 300, Some(100), "may use 2 cores only"),
            (1, 300, Some(2), "only 0.2 % of the time"),
            (1, 300, None, "does not report"),
            (1, 450, Some(0), "--period longer"),
        ] {
            let reason = reason(threads, cpu_ms, run_delay_ms, true).unwrap();
            assert!(reason.contains("requested 40.000 %") && reason.contains(cause), "{reason}");
        }
        assert!(reason(1, 300, Some(100), false).is_some(), "a load that was ended early has a target, too");
    }
}
