//! What the lab found, as the JSON that others rely on, and its way to disk. Times in seconds, shares from 0 to 1,
//! percent of one core. A figure that could not be had is absent, with the reason under `missing`.

use crate::host::Host;
use crate::interpreter::Interpreter;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// A name that is written in the code, or was read from an earlier file.
pub type Name = Cow<'static, str>;

/// One file of results, of experiments or of checks.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Document<R = RunResult> {
    /// Version of this layout.
    pub schema: u32,
    /// When the first measurement began, RFC 3339.
    pub started_at: String,
    /// The release of the libbusy that did the native waits, by its own word.
    pub libbusy: String,
    /// The machine, and how loaded it was.
    pub host: Host,
    /// The findings.
    pub results: Vec<R>,
}

/// One experiment on one interpreter.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RunResult {
    /// Always "run".
    pub kind: Name,
    /// The experiment's name.
    pub experiment: Name,
    /// How it went.
    pub status: Status,
    /// Why it was skipped or failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What the outcome says about the talk's claim.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// The one figure that tells most, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub headline: Option<String>,
    /// Who ran it.
    pub interpreter: Interpreter,
    /// Seconds that each case was to run.
    pub seconds: u32,
    /// What was measured.
    pub cases: Vec<Case>,
    /// Cases that could not be had, and why.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub missing: BTreeMap<String, String>,
}

/// How a statement stands to the GIL on one interpreter.
#[derive(Debug, Clone, Serialize)]
pub struct CheckResult {
    /// Always "check".
    pub kind: Name,
    /// What was run once before; absent if nothing.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub setup: String,
    /// What was checked.
    pub statement: String,
    /// Who ran it.
    pub interpreter: Interpreter,
    /// How it went.
    pub status: Status,
    /// The answer; null if it was skipped or failed.
    pub verdict: Option<Verdict>,
    /// The answer that was expected.
    pub expected: Option<Verdict>,
    /// The longest stall that was allowed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_stall_s: Option<f64>,
    /// For what part of its time the calling thread holds the GIL, without others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held_share: Option<f64>,
    /// The longest that it holds it at a stretch, in one call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub longest_hold_s: Option<f64>,
    /// The longest that another thread had to wait for it, for one call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub longest_stall_s: Option<f64>,
    /// How often it was run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calls: Option<u64>,
    /// Why there is no verdict, or what else is to be said.
    pub reason: Option<String>,
    /// Figures that could not be had, and why.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub missing: BTreeMap<Name, String>,
}

/// The answers (pyext/python/busy/_verdict.py).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It releases the GIL for most of its time, and never holds it for long
    Releases,
    /// It releases the GIL, but holds it for more than that
    Partly,
    /// It holds the GIL, but gives way when asked, as Python code does
    Yields,
    /// It holds the GIL, and others stall for as long as it runs
    Holds,
    /// There is no GIL
    NoGil,
    /// It could not be told, for the reason given
    Inconclusive,
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.serialize(out)
    }
}

/// How an experiment went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// As expected on this interpreter.
    AsExpected,
    /// Something spoiled the measurement, and is named.
    Inconclusive,
    /// Neither: look closer.
    Unexpected,
}

/// One arrangement of what an experiment compares.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Case {
    /// Its name.
    pub case: Name,
    /// The variant in which it was done, where there are several: `pyo3` or `c`, the variants into native code, and the like.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub variant: Option<Name>,
    /// From the common start to the end of the last thread; of a case without threads of its own, the script's time.
    pub wall_s: f64,
    /// What its threads used, where they were watched.
    #[serde(flatten)]
    pub cpu: Option<CpuFigures>,
    /// What the script found, by the names that it gives.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metrics: BTreeMap<String, serde_json::Value>,
    /// What it shows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub judgement: Option<Judgement>,
    /// Figures that could not be had, and why.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub missing: BTreeMap<Name, String>,
}

/// CPU use of the threads of a case, in percent of one core.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CpuFigures {
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
    /// Why none of these figures can be relied on: the machine itself changed meanwhile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_doubt: Option<String>,
}

/// What the sampler did meanwhile.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SamplerFigures {
    /// Looks a second, as asked for.
    pub hz: u32,
    /// CPU time of the thread that looked, while it did.
    pub cost_percent: f64,
    /// Looks that were left out since their time had passed.
    pub missed: u64,
}

/// What a case shows.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Judgement {
    /// As expected or not.
    pub outcome: Outcome,
    /// The Python version since which it is no longer as the talk saw it; absent where it still is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub changed_since: Option<Name>,
    /// In a sentence or two.
    pub summary: String,
}

/// One thread's part.
#[derive(Debug, Clone, Serialize, Deserialize)]
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
    pub run_delay_percent: f64,
    /// Context switches because it waited.
    pub voluntary_switches: u64,
    /// Context switches because the kernel gave the core to another.
    pub involuntary_switches: u64,
}

/// One core's part.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CoreFigures {
    /// Its number.
    pub core: u32,
    /// All that ran on it.
    pub cpu_percent: f64,
}

/// One step of a timeline.
#[derive(Debug, Clone, Serialize, Deserialize)]
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
    /// Those of its threads that are called `name`.
    pub fn threads<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a ThreadFigures> {
        self.cpu.iter().flat_map(|cpu| &cpu.threads).filter(move |thread| thread.name == name)
    }

    /// The counts of the threads called `name` together, a second.
    pub fn rate(&self, name: &str) -> f64 {
        self.threads(name).map(|thread| thread.count as f64).sum::<f64>() / self.wall_s
    }

    /// What all threads used; NaN where they were not watched, which no bound takes for fulfilled.
    pub fn cpu_percent(&self) -> f64 {
        self.cpu.as_ref().map_or(f64::NAN, |cpu| cpu.cpu_percent)
    }

    /// The number that the script found under this name.
    pub fn number(&self, metric: &str) -> Option<f64> {
        self.metrics.get(metric)?.as_f64()
    }

    /// The text that the script found under this name.
    pub fn text(&self, metric: &str) -> Option<&str> {
        self.metrics.get(metric)?.as_str()
    }

    /// Whether the script found so.
    pub fn truth(&self, metric: &str) -> Option<bool> {
        self.metrics.get(metric)?.as_bool()
    }
}

impl RunResult {
    /// The Python version since which something here is no longer as the talk saw it.
    pub fn changed_since(&self) -> Option<&str> {
        self.cases.iter().find_map(|case| case.judgement.as_ref()?.changed_since.as_deref())
    }

    /// The case of that name (and variant).
    pub fn case(&self, case: &str, variant: Option<&str>) -> Option<&Case> {
        self.cases.iter().find(|found| found.case == case && found.variant.as_deref() == variant)
    }
}
