//! What the lab found, as the JSON that others rely on, and its way to disk. Times in seconds, shares from 0 to 1,
//! percent of one core. A figure that could not be had is absent, with the reason under `missing`.

use crate::host::Host;
use crate::interpreter::Interpreter;
use serde::Serialize;
use std::collections::BTreeMap;

/// One file of results.
#[derive(Debug, Serialize)]
pub struct Document {
    /// Version of this layout.
    pub schema: u32,
    /// When the first measurement began, RFC 3339.
    pub began: String,
    /// The machine, and how loaded it was.
    pub host: Host,
    /// The findings.
    pub results: Vec<RunResult>,
}

/// One experiment on one interpreter.
#[derive(Debug, Serialize)]
pub struct RunResult {
    /// Always "run".
    pub kind: &'static str,
    /// The experiment's name.
    pub experiment: &'static str,
    /// How it went.
    pub status: Status,
    /// Why it was skipped or failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What the outcome says about the talk's claim.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// Who ran it.
    pub interpreter: Interpreter,
    /// Seconds that each case was to run.
    pub seconds: u32,
    /// What was measured.
    pub cases: Vec<Case>,
    /// Cases that could not be had, and why.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub missing: BTreeMap<String, String>,
}

/// How an experiment went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// All that could be measured was.
    Ok,
    /// Something that it needs is not here.
    Skipped,
    /// Something went wrong.
    Failed,
}

/// What an outcome says about what was expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// As expected on this interpreter.
    AsExpected,
    /// Something spoiled the measurement, and is named.
    Inconclusive,
    /// Neither: look closer.
    Unexpected,
}

/// One arrangement of threads.
#[derive(Debug, Clone, Serialize)]
pub struct Case {
    /// Its name.
    pub case: &'static str,
    /// The way into native code, where there are several: `pyo3` or `c`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub way: Option<&'static str>,
    /// From the common start to the end of the last thread.
    pub wall_s: f64,
    /// CPU time of the threads named below.
    pub cpu_percent: f64,
    /// Its part in user mode.
    pub user_percent: f64,
    /// Its part in the kernel.
    pub system_percent: f64,
    /// Each thread that took part.
    pub threads: Vec<ThreadFigures>,
    /// Each core, all processes together.
    pub cores: Vec<CoreFigures>,
    /// The run, a step for each look of the sampler.
    pub timeline: Vec<Step>,
    /// How it was looked at, and what that cost.
    pub sampler: SamplerFigures,
    /// What other processes used meanwhile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub others_percent: Option<f64>,
    /// What the hypervisor took from this machine's cores meanwhile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub steal_percent: Option<f64>,
    /// What it shows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub judgement: Option<Judgement>,
    /// Figures that could not be had, and why.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub missing: BTreeMap<&'static str, String>,
}

/// What the sampler did meanwhile.
#[derive(Debug, Clone, Serialize)]
pub struct SamplerFigures {
    /// Looks a second, as asked for.
    pub hz: u32,
    /// CPU time of the thread that looked, while it did.
    pub cost_percent: f64,
    /// Looks that were left out since their time had passed.
    pub missed: u64,
}

/// What a case shows.
#[derive(Debug, Clone, Serialize)]
pub struct Judgement {
    /// As expected or not.
    pub outcome: Outcome,
    /// In a sentence or two.
    pub says: String,
}

/// One thread's part.
#[derive(Debug, Clone, Serialize)]
pub struct ThreadFigures {
    /// What it ran.
    pub name: String,
    /// The kernel's id.
    pub tid: u32,
    /// How often it read its clock.
    pub count: u64,
    /// CPU time.
    pub cpu_percent: f64,
    /// Time it could have run but had no core.
    pub waited_for_cpu_percent: f64,
    /// Context switches because it waited.
    pub voluntary_switches: u64,
    /// Context switches because the kernel gave the core to another.
    pub involuntary_switches: u64,
}

/// One core's part.
#[derive(Debug, Clone, Serialize)]
pub struct CoreFigures {
    /// Its number.
    pub core: u32,
    /// All that ran on it.
    pub cpu_percent: f64,
}

/// One step of a timeline.
#[derive(Debug, Clone, Serialize)]
pub struct Step {
    /// Its end, counted from the common start.
    pub t_s: f64,
    /// CPU use of each thread, in the order of the case's threads.
    pub threads: Vec<f64>,
    /// CPU use of each core, in the order of the case's cores, since the last step that has it; absent if the cores were
    /// not read in this step.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cores: Option<Vec<f64>>,
}

impl Case {
    /// The counts of the threads called `name` together, a second.
    pub fn rate(&self, name: &str) -> f64 {
        let counts = self.threads.iter().filter(|thread| thread.name == name).map(|thread| thread.count as f64);
        counts.sum::<f64>() / self.wall_s
    }
}

impl RunResult {
    /// The case of that name (and way).
    pub fn case(&self, case: &str, way: Option<&str>) -> Option<&Case> {
        self.cases.iter().find(|found| found.case == case && found.way == way)
    }
}
