//! The result of an experiment: its cases with their figures, and what they show.

use super::{Host, Interpreter, Name, Row, Status};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// The metric of a watched case: the CPU utilization of a process that ran beside the threads as a control, in percent of one core.
pub const CONTROL_CPU: &str = "control_cpu_percent";

/// The result of one experiment on one interpreter.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RunResult {
    /// Always "run".
    pub kind: Name,
    /// The experiment's name.
    pub experiment: Name,
    /// The start of its measurement, RFC 3339.
    #[serde(default)]
    pub started_at: String,
    /// Whether it was measured.
    pub status: Status,
    /// The reason why it was skipped or failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The worst outcome of its cases.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// The most important figure, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub headline: Option<String>,
    /// The machine, and how loaded it was.
    pub host: Host,
    /// The release of the libbusy that did the native waits, as busy_version() returns it; absent if unknown.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub libbusy: String,
    /// The interpreter; absent in the JSON if it is unknown.
    #[serde(default, skip_serializing_if = "Interpreter::is_unknown")]
    pub interpreter: Interpreter,
    /// The requested duration of each case, in seconds.
    pub seconds: u32,
    /// The cases that were measured.
    pub cases: Vec<Case>,
    /// The cases that could not be measured, with the reasons.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub missing: BTreeMap<String, String>,
}

/// What a case shows, compared with what is expected of this interpreter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// As expected.
    AsExpected,
    /// Nothing, since something disturbed the measurement; the summary names it.
    Inconclusive,
    /// Something else.
    Unexpected,
}

/// One of the arrangements that an experiment compares.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Case {
    /// Its name.
    pub case: Name,
    /// The variant, where there are several: `pyo3` or `c` for two extension modules, for example.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub variant: Option<Name>,
    /// The time from the common start to the end of the last thread; for a case without threads of its own, the script's time.
    pub wall_s: f64,
    /// The CPU utilization of its threads, if they were watched.
    #[serde(flatten)]
    pub cpu: Option<CpuFigures>,
    /// The CPU utilization of other processes during the case, in percent of one core.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub others_percent: Option<f64>,
    /// The CPU time that the hypervisor took from this machine during the case, in percent of one core.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steal_percent: Option<f64>,
    /// The metrics that the script reported, by its names for them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metrics: BTreeMap<String, serde_json::Value>,
    /// What the case shows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub judgement: Option<Judgement>,
    /// The figures that could not be had, with the reasons.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub missing: BTreeMap<Name, String>,
}

/// CPU utilization of the threads of a case, in percent of one core.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CpuFigures {
    /// The CPU time of the threads below, together.
    pub cpu_percent: f64,
    /// The part of it in user mode.
    pub user_percent: f64,
    /// The part of it in the kernel.
    pub system_percent: f64,
    /// The threads of the case.
    pub threads: Vec<ThreadFigures>,
    /// The cores, with all processes together.
    pub cores: Vec<CoreFigures>,
    /// The utilization over time, one step for each sample.
    pub timeline: Vec<Step>,
    /// The sampler's rate and its own cost.
    pub sampler: SamplerFigures,
    /// The reason why none of these figures is reliable: the machine itself changed during the case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_doubt: Option<String>,
}

/// The sampler's rate and its cost during the case.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SamplerFigures {
    /// The requested number of samples per second.
    pub hz: u32,
    /// The CPU time of the sampling thread.
    pub cost_percent: f64,
    /// The number of samples that were skipped because their time had passed.
    pub missed: u64,
}

/// What a case shows, in one word and in a sentence.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Judgement {
    /// Whether the case shows what is expected.
    pub outcome: Outcome,
    /// The Python version since which the result differs from the talk's; absent if it does not differ.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub changed_since: Option<Name>,
    /// The result in a sentence or two.
    pub summary: String,
}

/// The figures of one thread.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ThreadFigures {
    /// The name of the loop that it ran.
    pub name: String,
    /// The kernel's thread id.
    pub tid: u32,
    /// The number of times that it read its clock.
    pub count: u64,
    /// Its CPU time.
    pub cpu_percent: f64,
    /// The time for which it was runnable without a CPU.
    pub run_delay_percent: f64,
    /// Context switches because it waited.
    pub voluntary_switches: u64,
    /// Context switches because the kernel gave the core to another thread.
    pub involuntary_switches: u64,
}

/// The figures of one core.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CoreFigures {
    /// Its number.
    pub core: u32,
    /// The CPU time of all processes on it.
    pub cpu_percent: f64,
}

/// One step of a timeline.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Step {
    /// The time of its end since the common start.
    pub t_s: f64,
    /// The utilization of each thread, in the order of the case's threads.
    pub threads: Vec<f64>,
    /// The utilization of each core, in the order of the case's cores, since the previous step that has it; absent if the
    /// cores were not read in this step.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cores: Option<Vec<f64>>,
}

impl Case {
    /// Yields the threads with this name.
    pub fn threads<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a ThreadFigures> {
        self.cpu.iter().flat_map(|cpu| &cpu.threads).filter(move |thread| thread.name == name)
    }

    /// Returns the counts per second of the threads with this name, added up.
    pub fn rate(&self, name: &str) -> f64 {
        self.threads(name).map(|thread| thread.count as f64).sum::<f64>() / self.wall_s
    }

    /// Returns the utilization of all threads; NaN if they were not watched, so that every bound fails.
    pub fn cpu_percent(&self) -> f64 {
        self.cpu.as_ref().map_or(f64::NAN, |cpu| cpu.cpu_percent)
    }

    /// Returns the metric of this name if it is a number.
    pub fn number(&self, metric: &str) -> Option<f64> {
        self.metrics.get(metric)?.as_f64()
    }

    /// Returns the metric of this name if it is a text.
    pub fn text(&self, metric: &str) -> Option<&str> {
        self.metrics.get(metric)?.as_str()
    }

    /// Returns the metric of this name if it is a boolean.
    pub fn truth(&self, metric: &str) -> Option<bool> {
        self.metrics.get(metric)?.as_bool()
    }
}

impl RunResult {
    /// Returns the Python version since which one of the cases differs from the talk's.
    pub fn changed_since(&self) -> Option<&str> {
        self.cases.iter().find_map(|case| case.judgement.as_ref()?.changed_since.as_deref())
    }

    /// Returns what distinguishes the interpreters on all hosts: the worker's address, and the command.
    pub fn place(&self) -> (Option<&str>, &Path) {
        (self.host.worker.as_ref().map(|worker| worker.address.as_str()), &self.interpreter.command)
    }

    /// Returns how this result counts for the exit code.
    pub fn row(&self) -> Row {
        match (self.status, self.outcome) {
            (Status::Failed, _) | (_, Some(Outcome::Unexpected)) => Row::Unexpected,
            (_, Some(Outcome::Inconclusive)) => Row::Inconclusive,
            (Status::Skipped, _) => Row::Skipped,
            (Status::Ok, _) => Row::Expected,
        }
    }

    /// Returns the case of this name and variant.
    pub fn case(&self, case: &str, variant: Option<&str>) -> Option<&Case> {
        self.cases.iter().find(|found| found.case == case && found.variant.as_deref() == variant)
    }
}
