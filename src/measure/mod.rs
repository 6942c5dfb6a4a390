//! Measures one case: an experiment's script in a supervised child interpreter, either watched from outside (its
//! threads' CPU time) or self-reported (the script measures itself); or checks one statement. Has the workers of a cluster
//! do the same. Also describes the host and measures its load.

mod check;
mod cluster;
mod figures;
pub mod host;
mod sampling;
mod self_reported;
mod watched;

pub use check::{Answer, check};
pub use cluster::{ClusterError, Heard, Unit, run_on_cluster};
pub use self_reported::{Bounds, measure_self_reported};
pub use watched::measure_watched;

use crate::process::{Spec, SupervisorError};
use crate::results::Interpreter;
use std::ffi::OsString;
use std::num::NonZero;
use std::path::Path;

/// The duration of a case, and the sampling rate.
#[derive(Debug, Clone, Copy)]
pub struct Schedule {
    /// The time for which the threads of the case run, in seconds.
    pub seconds: u32,
    /// The number of samples per second.
    pub hz: NonZero<u32>,
}

/// A case to measure: `script CASE SECONDS ARGUMENTS...`.
pub struct Order<'a> {
    /// The interpreter that runs it.
    pub interpreter: &'a Interpreter,
    /// The script.
    pub script: &'a Path,
    /// The case.
    pub case: &'static str,
    /// Its variant, which is noted in the result.
    pub variant: Option<&'static str>,
    /// Its duration, and the sampling rate.
    pub schedule: Schedule,
    /// Further arguments.
    pub arguments: Vec<String>,
}

impl Order<'_> {
    /// Returns the run of the script, bounded by `timeout_s`.
    fn spec(&self, timeout_s: f64) -> Spec {
        let mut arguments: Vec<OsString> = vec![self.case.into(), self.schedule.seconds.to_string().into()];
        arguments.extend(self.arguments.iter().map(OsString::from));
        script_spec(self.interpreter, self.script, arguments, timeout_s)
    }
}

/// Returns a run of `script` with `arguments`, bounded by `timeout_s`.
fn script_spec(
    interpreter: &Interpreter,
    script: &Path,
    arguments: impl IntoIterator<Item = OsString>,
    timeout_s: f64,
) -> Spec {
    let command: [OsString; 2] = [interpreter.command.clone().into(), script.into()];
    let mut spec = Spec::new(command.into_iter().chain(arguments), timeout_s);
    // An empty value disables them: the first would hide the script's folder, and the second would prevent the
    // interpreter from exiting.
    for variable in ["PYTHONSAFEPATH", "PYTHONINSPECT"] {
        spec.env.insert(variable.into(), OsString::new());
    }
    spec
}

/// The reason why a case has no figures.
#[derive(Debug, thiserror::Error)]
pub enum MeasureError {
    /// The script failed.
    #[error("{0}")]
    Failed(String),
    /// The script reported that it can't run here.
    #[error("{0}")]
    Skipped(String),
    /// The lab was interrupted, or the supervisor was lost.
    #[error(transparent)]
    Supervisor(#[from] SupervisorError),
}

impl MeasureError {
    /// Returns true if the user interrupted the measurement.
    pub fn is_interrupt(&self) -> bool {
        matches!(self, Self::Supervisor(SupervisorError::Interrupted))
    }
}

/// Returns the beginning of a line, quoted, for an error message.
fn excerpt(line: &str) -> String {
    format!("{:?}", line.chars().take(80).collect::<String>())
}
