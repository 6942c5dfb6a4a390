//! A measurement on several hosts (`--dask`): one document of what the workers of a dask cluster measured.

use super::output::note;
use crate::interpreter::{self, InterpreterError};
use crate::measure::{ClusterError, Heard, Unit, run_on_cluster};
use crate::process::SupervisorError;
use crate::provision::{UnpackError, installation, scripts};
use crate::results::{Document, Interpreter, Merged, OnHost, path_text};
use indicatif::ProgressBar;
use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

/// The reason why nothing could be measured on other hosts.
#[derive(Debug, thiserror::Error)]
pub enum HostsError {
    /// The Python that would talk to the cluster can't be used.
    #[error(transparent)]
    Interpreter(#[from] InterpreterError),
    /// No Python has distributed.
    #[error(
        "--dask needs a Python with the package distributed, in busy's own environment, in the active one, or on PATH: {0}; \
         install it there (pip install distributed)"
    )]
    NoDistributed(String),
    /// The script can't be unpacked.
    #[error(transparent)]
    Scripts(#[from] UnpackError),
    /// The cluster gave no results.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
}

/// What is to be measured on each host.
pub struct Order<'a> {
    /// The address of the cluster's scheduler.
    pub scheduler: &'a str,
    /// The time-out of each unit on each host.
    pub timeout: Duration,
    /// The units.
    pub units: Vec<Unit>,
}

/// Returns the unit with these options and operands, on the interpreters that `pythons` name.
pub fn unit(mut options: Vec<String>, pythons: &[OsString], operands: Vec<String>) -> Unit {
    // They are names on another machine, so that a path can't be looked up here.
    options.extend(pythons.iter().map(|python| format!("--python={}", path_text(Path::new(python)))));
    Unit { options, has_python: !pythons.is_empty(), operands }
}

/// Has the workers run all units. After each one, `keep` gets the document so far. A unit that failed is a row made of `blank`.
///
/// # Errors
/// See [`HostsError`]. After an interrupt, the document has the rows so far.
pub fn on_hosts<R: OnHost + Clone>(
    order: &Order,
    blank: impl Fn(usize) -> R,
    mut keep: impl FnMut(&Document<R>),
) -> Result<Document<R>, HostsError> {
    let script = scripts::unpack()?.join(scripts::DASK_HOSTS);
    let progress = ProgressBar::new_spinner().with_message("looking for the workers of the cluster");
    progress.enable_steady_tick(Duration::from_millis(250));
    let mut merged = Merged::new(Vec::new());
    let mut without = Vec::new();
    for python in pythons()? {
        let hear = |heard| match heard {
            Heard::Workers(workers) => merged = Merged::new(workers),
            Heard::Row { unit, .. } if unit >= order.units.len() => {}
            Heard::Row { worker, unit, found, notes } => {
                for line in notes {
                    progress.suspend(|| note(&format!("{}: {line}", merged.name(worker))));
                }
                merged.add(worker, unit, found, blank(unit));
                keep(&merged.document());
                let all = merged.workers() * order.units.len();
                progress.set_message(format!("{} of {all} measurements on {} hosts", merged.units(), merged.workers()));
            }
        };
        match run_on_cluster(&python, &script, order.scheduler, &order.units, order.timeout, hear) {
            Ok(()) => merged.fail_rest(order.units.len(), "the cluster gave no answer for this worker", &blank),
            Err(ClusterError::NoDistributed(reason)) => {
                without.push(format!("{}: {reason}", path_text(&python.command)));
                continue;
            }
            Err(ClusterError::Supervisor(SupervisorError::Interrupted)) => {}
            Err(error) if merged.workers() == 0 => return Err(error.into()),
            Err(error) => merged.fail_rest(order.units.len(), &error.to_string(), &blank),
        }
        progress.finish_and_clear();
        return Ok(merged.document());
    }
    Err(HostsError::NoDistributed(without.join("; ")))
}

/// Returns the Pythons that may have distributed: that of the environment in which busy is installed, and the default one.
fn pythons() -> Result<Vec<Interpreter>, HostsError> {
    let own = installation::python().and_then(|path| interpreter::identify(path.as_os_str()).ok());
    let mut found: Vec<Interpreter> = own.into_iter().collect();
    match interpreter::resolve(&[]) {
        Ok(default) => found.extend(default.interpreters.into_iter().filter(|one| {
            // One environment is tried once.
            installation::python().as_ref() != Some(&one.command)
        })),
        Err(InterpreterError::Supervisor(error)) => return Err(InterpreterError::from(error).into()),
        Err(error) if found.is_empty() => return Err(error.into()),
        Err(_) => {}
    }
    Ok(found)
}
