//! Results as plain data, and their way to disk: the JSON that others rely on. Times are in seconds (`_s`), shares from 0 to 1,
//! percentages of one core. A metric that could not be measured is absent, with the reason under `missing`.
//!
//! This module knows no process, no interpreter discovery and no command line, so that a reader of results needs none of them.

mod any;
mod check;
mod cluster;
mod document;
mod host;
mod interpreter;
mod labels;
mod new_file;
mod record;
mod resume;
mod row;
mod run;

pub use any::{AnyResult, ReadError, read_results};
pub use check::{CheckResult, Verdict};
pub use cluster::{Merged, OnHost};
pub use document::{Document, SCHEMA, now};
pub use host::{Host, TOO_LOADED_PERCENT, Topology, Worker};
pub use interpreter::{Interpreter, path_text};
pub use labels::Labels;
pub use new_file::{NewFile, NewFileError, destination};
pub use record::{
    MoreStalls, RecordResult, RecordedCall, RecordedInterpreter, RecordedProcess, RecordedSamples, RecordedStall,
    RecordedStates, RecordedThread,
};
pub use resume::{Earlier, ResumeError};
pub use row::{Row, exit_code};
pub use run::{
    CONTROL_CPU, Case, CoreFigures, CpuFigures, Judgement, Outcome, RunResult, SamplerFigures, Step, ThreadFigures,
};

use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// A name that is written in the code, or was read from a file.
pub type Name = Cow<'static, str>;

/// The reason for a metric that is missing because the user pressed Ctrl-C.
pub const INTERRUPTED: &str = "interrupted";

/// Whether something could be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Everything that can be measured here was measured.
    Ok,
    /// Something that it needs is not available here.
    Skipped,
    /// An error occurred.
    Failed,
}
