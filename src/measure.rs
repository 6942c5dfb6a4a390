//! Measures one case: runs an experiment's script in a child interpreter under the guard, watched from outside, and
//! turns what the script counted and what the watch saw into figures.

use crate::guard::{Event, GuardError, Guarded, Spec};
use crate::host::busy_percent;
use crate::interpreter::Interpreter;
use crate::results::{Case, CoreFigures, CpuFigures, Step, ThreadFigures};
use crate::units::percent_of;
use crate::watch::{Look, Watch};
use busy_core::cpu::{CoreUsage, ThreadUsage};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

/// One case to run: `script CASE SECONDS ARGUMENTS...`.
pub struct Order<'a> {
    /// Who runs it.
    pub interpreter: &'a Interpreter,
    /// The script.
    pub script: &'a Path,
    /// The case that it is to run.
    pub case: &'static str,
    /// The way in which it is done, for the record.
    pub way: Option<&'static str>,
    /// How long its threads run.
    pub seconds: u32,
    /// What else it wants.
    pub arguments: Vec<String>,
}

impl Order<'_> {
    /// The interpreter's run of the script, bounded by `timeout_s`.
    pub(crate) fn spec(&self, timeout_s: f64) -> Spec {
        let mut command = vec![self.interpreter.path.clone(), self.script.display().to_string(), self.case.into()];
        command.push(self.seconds.to_string());
        command.extend_from_slice(&self.arguments);
        let mut spec = Spec::new(command, timeout_s);
        // Empty is off: the one hides the script's own folder from it, the other keeps the interpreter from ending.
        for variable in ["PYTHONSAFEPATH", "PYTHONINSPECT"] {
            spec.env.insert(variable.into(), String::new());
        }
        spec
    }
}

/// Why a case has no figures.
#[derive(Debug, thiserror::Error)]
pub enum MeasureError {
    /// The script came to no good end.
    #[error("{0}")]
    Failed(String),
    /// The script says that it can't be run here.
    #[error("{0}")]
    Skipped(String),
    /// The lab was stopped, or its guard was.
    #[error(transparent)]
    Guard(#[from] GuardError),
}

/// What a script prints (experiments/side_by_side.py).
#[derive(Deserialize)]
struct Report {
    clock: Clock,
    start: f64,
    end: f64,
    threads: Vec<Told>,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "lowercase")]
enum Clock {
    Monotonic,
    Time,
}

#[derive(Deserialize)]
struct Told {
    name: String,
    tid: u32,
    count: Option<u64>,
    error: Option<String>,
}

/// Runs the case and returns its figures, not yet judged.
///
/// # Errors
/// [`MeasureError::Failed`] names what the interpreter did instead.
pub fn measure(order: &Order) -> Result<Case, MeasureError> {
    // A with_lock that comes first makes a run twice as long; interpreters start in well under the rest.
    let mut spec = order.spec(2.0 * f64::from(order.seconds) + 10.0);
    spec.env.insert("BUSY_WATCHED".into(), "1".into());
    let mut child = Guarded::start(&spec)?;
    let mut watch = None;
    let mut seen = None;
    let mut other = None;
    let ended = loop {
        match child.next()? {
            Event::Started(pid) => watch = Some(Watch::start(pid)),
            // Not every line need be the script's: what the interpreter runs at its start (site) may print too.
            Event::Line(line) => match serde_json::from_str::<Report>(&line) {
                Ok(report) if seen.is_none() => {
                    // The script's threads have done their work and wait, alive, for this last look.
                    seen = Some((report, watch.take().map(Watch::finish)));
                    child.close_stdin();
                }
                Ok(_) => return Err(MeasureError::Failed("expected one report, found a second".into())),
                Err(error) => other = Some(format!("found {}: {error}", cut(&line))),
            },
            Event::Ended(ended) => break ended,
        }
    };
    let Some((report, looks)) = seen else {
        let found = other.unwrap_or_else(|| "found none".into());
        return Err(MeasureError::Failed(format!(
            "expected a line of JSON as side_by_side.py prints, {found}; {ended}"
        )));
    };
    if let Some(error) =
        report.threads.iter().find_map(|thread| Some(format!("{}: {}", thread.name, thread.error.as_ref()?)))
    {
        return Err(MeasureError::Failed(error));
    }
    if ended.how != crate::guard::How::Exited(0) {
        return Err(MeasureError::Failed(ended.to_string()));
    }
    match looks {
        Some(Ok(looks)) => figures(order, &report, &looks),
        Some(Err(error)) => Err(MeasureError::Failed(format!("its CPU time could not be read: {error}"))),
        None => Err(MeasureError::Failed("it wrote before it was started".into())),
    }
}

fn figures(order: &Order, report: &Report, looks: &[Look]) -> Result<Case, MeasureError> {
    let wall_s = report.end - report.start;
    let last = looks.last().expect("a finished watch has looked");
    if !(wall_s > 0.0 && wall_s < 1e6) {
        return Err(MeasureError::Failed(format!("its clock ran from {} to {}", report.start, report.end)));
    }
    let wall = Duration::from_secs_f64(wall_s);
    let usage_of = |told: &Told| {
        let found = last.threads.iter().find(|thread| thread.tid == told.tid);
        found.ok_or_else(|| {
            MeasureError::Failed(format!("thread {} ({}) was not there at the end", told.tid, told.name))
        })
    };
    // The threads were born for this case and have slept since its end: what they have used, they used in it.
    let usages: Vec<&ThreadUsage> = report.threads.iter().map(usage_of).collect::<Result<_, _>>()?;
    let total = |part: fn(&ThreadUsage) -> Duration| percent_of(usages.iter().map(|usage| part(usage)).sum(), wall);
    let threads = report.threads.iter().zip(&usages).map(|(told, usage)| ThreadFigures {
        name: told.name.clone(),
        tid: told.tid,
        count: told.count.unwrap_or(0),
        cpu_percent: percent_of(usage.cpu, wall),
        waited_for_cpu_percent: percent_of(usage.waited_for_cpu, wall),
        voluntary_switches: usage.voluntary_switches,
        involuntary_switches: usage.involuntary_switches,
    });

    // Cores are read at the looks only, so their figures are of the looks within the run.
    let time = |look: &Look| match report.clock {
        Clock::Monotonic => look.monotonic_s,
        Clock::Time => look.unix_s,
    };
    let within: Vec<&Look> = looks.iter().filter(|look| (report.start..=report.end).contains(&time(look))).collect();
    let mut cpu = CpuFigures {
        cpu_percent: total(|usage| usage.cpu),
        user_percent: total(|usage| usage.user),
        system_percent: total(|usage| usage.system),
        threads: threads.collect(),
        cores: Vec::new(),
        timeline: Vec::new(),
        others_percent: None,
        steal_percent: None,
    };
    let mut missing = BTreeMap::new();
    if let [first, .., last] = within[..] {
        let span = between(first, last);
        let used = |look: &Look| look.threads.iter().map(|thread| thread.cpu).sum::<Duration>();
        let own = percent_of(used(last).saturating_sub(used(first)), span);
        let steal = |look: &Look| look.cores.iter().map(|core| core.steal).sum::<Duration>();
        cpu.others_percent = Some((busy_percent(&first.cores, &last.cores, span) - own).max(0.0));
        cpu.steal_percent = Some(percent_of(steal(last).saturating_sub(steal(first)), span));
        cpu.cores = core_figures(&first.cores, &last.cores, span);
        cpu.timeline = within.windows(2).map(|pair| step(report, time(pair[1]), pair[0], pair[1])).collect();
    } else {
        let reason = "the run was too short: cores are read ten times a second";
        for key in ["cores", "timeline", "others_percent", "steal_percent"] {
            missing.insert(key.into(), reason.into());
        }
    }
    Ok(Case {
        case: order.case.into(),
        way: order.way.map(Into::into),
        wall_s,
        cpu: Some(cpu),
        facts: BTreeMap::new(),
        judgement: None,
        missing,
    })
}

fn core_figures(before: &[CoreUsage], after: &[CoreUsage], span: Duration) -> Vec<CoreFigures> {
    let pairs = after.iter().filter_map(|after| Some((before.iter().find(|before| before.core == after.core)?, after)));
    pairs
        .map(|(before, after)| CoreFigures {
            core: after.core,
            cpu_percent: percent_of(after.busy().saturating_sub(before.busy()), span),
        })
        .collect()
}

fn step(report: &Report, time: f64, before: &Look, after: &Look) -> Step {
    let span = between(before, after);
    let cpu = |look: &Look, tid| {
        look.threads.iter().find(|thread| thread.tid == tid).map_or(Duration::ZERO, |thread| thread.cpu)
    };
    let threads =
        report.threads.iter().map(|told| percent_of(cpu(after, told.tid).saturating_sub(cpu(before, told.tid)), span));
    let cores = core_figures(&before.cores, &after.cores, span);
    Step {
        t_s: time - report.start,
        threads: threads.collect(),
        cores: cores.iter().map(|core| core.cpu_percent).collect(),
    }
}

fn between(before: &Look, after: &Look) -> Duration {
    Duration::from_secs_f64(after.monotonic_s - before.monotonic_s)
}

/// As much of a line as an error message bears.
pub(crate) fn cut(line: &str) -> String {
    format!("{:?}", line.chars().take(80).collect::<String>())
}
