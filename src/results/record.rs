//! The result of recording a program.

use super::{Host, Name};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The result of recording one program with all its processes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RecordResult {
    /// Always "record".
    pub kind: Name,
    /// The start of the recording, RFC 3339.
    pub started_at: String,
    /// The machine. The load of other processes is that during the recording.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<Host>,
    /// The program and its arguments.
    pub command: Vec<String>,
    /// True if a running process was sampled: shares and times are estimates.
    #[serde(default)]
    pub sampled: bool,
    /// The length from which on a wait is a stall. None if it was sampled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stall_threshold_s: Option<f64>,
    /// The time from the program's start to its end; that of the sampling, if it was sampled.
    pub duration_s: f64,
    /// The program's exit code; null if a signal has ended it, or if it was sampled.
    pub exit_code: Option<i32>,
    /// The signal that has ended it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    /// The processes with a Python, in the order of their start.
    pub processes: Vec<RecordedProcess>,
    /// The figures that could not be had, with the reasons.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub missing: BTreeMap<Name, String>,
}

/// A process with a Python.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RecordedProcess {
    /// The process id.
    pub pid: u32,
    /// The process id of its parent.
    pub parent: u32,
    /// The interpreter.
    pub interpreter: RecordedInterpreter,
    /// How it ended: exited; abrupt (by a signal or by os._exit, as the workers of multiprocessing do); executed (another
    /// program); running (at the end of the recording); unknown (only if it was sampled).
    pub ended: Name,
    /// The time for which it was metered: from the start of its Python to its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metered_s: Option<f64>,
    /// The share of the metered time in which any of its threads held the main interpreter's GIL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held_share: Option<f64>,
    /// The stalls, those that cost others most first. None if it was sampled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stalls: Option<Vec<RecordedStall>>,
    /// The sums of the stalls that are not listed, if there are too many for the list.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub more_stalls: Option<MoreStalls>,
    /// The sampling, if it was sampled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub samples: Option<RecordedSamples>,
    /// The calls in which a thread held the GIL, if it was sampled; those that cost others most come first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calls: Option<Vec<RecordedCall>>,
    /// The threads that used a GIL, those that held one or waited for one longest first.
    pub threads: Vec<RecordedThread>,
    /// The figures that could not be had, with the reasons.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub missing: BTreeMap<Name, String>,
}

/// The sampling of a process.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RecordedSamples {
    /// The intended number of samples of the holder per second.
    pub hz: u32,
    /// The number of samples.
    pub count: u64,
    /// The longest time between two of them.
    pub longest_gap_s: f64,
    /// The time that was not observed, between samples too far apart. It is not part of any other figure.
    pub unseen_s: f64,
    /// The time that the GIL was held by a thread that could not be identified.
    pub held_by_unknown_s: f64,
    /// The CPU time of the sampling itself.
    pub cost_s: f64,
}

/// A call in which a sampled thread held the GIL.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RecordedCall {
    /// The native thread id of the holder.
    pub holder: u32,
    /// Its stack, the innermost frame first, as `file:line function`. Empty if none could be read, or if it ran no Python code.
    pub stack: Vec<String>,
    /// The number of samples.
    pub samples: u64,
    /// How long it held the GIL, estimated from these samples.
    pub held_s: f64,
    /// How long other threads waited meanwhile, in all.
    pub lost_s: f64,
}

/// The interpreter of a recorded process, as far as the process shows it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RecordedInterpreter {
    /// The exact version, such as "3.11.7".
    pub version: String,
    /// The implementation: cpython.
    pub implementation: Name,
    /// The text of Py_GetVersion, with the date and the compiler of the build.
    pub build: String,
    /// The executable.
    pub path: String,
}

/// A thread of a recorded process, with one GIL.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RecordedThread {
    /// The native thread id.
    pub tid: u32,
    /// The native name.
    pub name: String,
    /// The function that it runs, if its native name is only that of the process, as before CPython 3.14.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runs: Option<String>,
    /// The index of the GIL, if it is not the main interpreter's.
    #[serde(default, skip_serializing_if = "is_main")]
    pub gil: u32,
    /// The time that it held the GIL.
    pub held_s: f64,
    /// The time that it waited for the GIL.
    pub waited_s: f64,
    /// Its CPU time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_s: Option<f64>,
    /// How long it ran without the GIL, was runnable without a CPU, and slept. Known only if it was sampled.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub states: Option<RecordedStates>,
    /// The longest hold. None if it was sampled, as are the next ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub longest_hold_s: Option<f64>,
    /// The longest wait.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub longest_wait_s: Option<f64>,
    /// The number of acquires.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acquisitions: Option<u64>,
    /// The number of events that the recording lacks, since the recorder was too late. The other figures have them.
    #[serde(default, skip_serializing_if = "is_none")]
    pub lost_events: u64,
}

/// The states of a sampled thread, beside holding the GIL and waiting for it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RecordedStates {
    /// The time for which it was observed.
    pub seen_s: f64,
    /// The time that it ran without the GIL.
    pub running_s: f64,
    /// The time that it was runnable without the GIL, but had no CPU.
    pub runnable_s: f64,
    /// The time that it slept for something else.
    pub sleeping_s: f64,
    /// The time in a state that the kernel did not report.
    pub unknown_s: f64,
}

/// The stalls that cost less than those that are listed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct MoreStalls {
    /// Their number.
    pub count: u64,
    /// The waits of other threads in them, in all.
    pub lost_s: f64,
}

/// A wait longer than the threshold, and the hold or holds that caused it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RecordedStall {
    /// The start of the hold, since the start of the recording; with several holds, that of the first wait.
    pub at_s: f64,
    /// The time from there to the end of the hold; with several holds, to that of the last wait.
    pub length_s: f64,
    /// The length of the hold; with several holds, how long the holder held the GIL meanwhile.
    pub held_s: f64,
    /// The native thread id of the holder; with several holds, of the one that held the GIL longest.
    pub holder: u32,
    /// The native thread ids of the threads that waited.
    pub waiters: Vec<u32>,
    /// Their stacks while they waited, by native thread id, as `stack`, if these were recorded.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub waiter_stacks: BTreeMap<u32, Vec<String>>,
    /// How long they waited meanwhile, in all.
    pub lost_s: f64,
    /// The holder's stack, the innermost frame first, as `file:line function`. Empty if none was read.
    pub stack: Vec<String>,
    /// The cause: native call, Python code, many short holds, holder off CPU, fork; null if it is not certain.
    pub cause: Option<Name>,
}

fn is_main(gil: &u32) -> bool {
    *gil == 0
}

fn is_none(number: &u64) -> bool {
    *number == 0
}

impl RecordedThread {
    /// Returns the name for people.
    pub fn title(&self) -> &str {
        self.runs.as_deref().unwrap_or(&self.name)
    }
}
