//! The description of a supervised program.

use super::scratch;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ffi::OsString;

/// A program to run, and its bounds.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Spec {
    /// The program, a path or a name on PATH, and its arguments. They may hold any bytes.
    pub command: Vec<OsString>,
    /// Variables set on top of the lab's own environment.
    pub env: BTreeMap<String, OsString>,
    /// The working directory; None is the lab's own. (serde refuses a path that is not UTF-8, but not an `OsString`.)
    pub dir: Option<OsString>,
    /// Its TMPDIR, which is removed at its end; see scratch.rs.
    pub(super) scratch: OsString,
    /// The time-out, in seconds.
    pub timeout_s: f64,
    /// The largest number of bytes that it may write to stdout, and to stderr.
    pub max_output: u64,
    /// The largest number of processes that it may have, itself included.
    pub max_processes: usize,
}

impl Spec {
    /// Returns `command` with the bounds for a program that prints little and starts few processes.
    pub fn new(command: impl IntoIterator<Item = impl Into<OsString>>, timeout_s: f64) -> Self {
        Self {
            command: command.into_iter().map(Into::into).collect(),
            env: BTreeMap::new(),
            dir: None,
            scratch: scratch::name(),
            timeout_s,
            max_output: 1 << 20,
            max_processes: 64,
        }
    }
}
