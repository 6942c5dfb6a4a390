//! Measures one case: runs an experiment's script in a child interpreter under the guard, watched from outside, and
//! turns what the script counted and what the watch saw into figures.

use crate::guard::{Event, GuardError, Guarded, Spec};
use crate::host::busy_percent;
use crate::interpreter::Interpreter;
use crate::results::{Case, CoreFigures, CpuFigures, SamplerFigures, Step, ThreadFigures};
use crate::units::percent_of;
use crate::watch::{Look, Watch, Watched};
use busy_core::cpu::{CoreUsage, Sampler, ThreadUsage};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::num::NonZero;
use std::path::Path;
use std::time::Duration;

/// How long a case runs, and how often it is looked at.
#[derive(Debug, Clone, Copy)]
pub struct Schedule {
    /// How long its threads run.
    pub seconds: u32,
    /// Looks a second.
    pub hz: NonZero<u32>,
}

/// One case to run: `script CASE SECONDS ARGUMENTS...`.
pub struct Order<'a> {
    /// Who runs it.
    pub interpreter: &'a Interpreter,
    /// The script.
    pub script: &'a Path,
    /// The case that it is to run.
    pub case: &'static str,
    /// The variant in which it is done, for the record.
    pub variant: Option<&'static str>,
    /// How long, how often.
    pub schedule: Schedule,
    /// What else it wants.
    pub arguments: Vec<String>,
}

impl Order<'_> {
    /// The interpreter's run of the script, bounded by `timeout_s`.
    pub(crate) fn spec(&self, timeout_s: f64) -> Spec {
        let mut command: Vec<OsString> =
            vec![self.interpreter.command.clone().into(), self.script.into(), self.case.into()];
        command.push(self.schedule.seconds.to_string().into());
        command.extend(self.arguments.iter().map(OsString::from));
        let mut spec = Spec::new(command, timeout_s);
        // Empty is off: the one hides the script's own folder from it, the other keeps the interpreter from ending.
        for variable in ["PYTHONSAFEPATH", "PYTHONINSPECT"] {
            spec.env.insert(variable.into(), OsString::new());
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
    let mut spec = order.spec(2.0 * f64::from(order.schedule.seconds) + 10.0);
    spec.env.insert("BUSY_WATCHED".into(), "1".into());
    let mut child = Guarded::start(&spec)?;
    let mut watch = None;
    let mut seen = None;
    let mut other = None;
    let ended = loop {
        match child.next()? {
            Event::Started(pid) => watch = Some(Watch::start(pid, order.schedule.hz)),
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
    let Some((report, watched)) = seen else {
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
    match watched {
        Some(Ok(watched)) => figures(order, &report, &watched),
        Some(Err(error)) => Err(MeasureError::Failed(format!("its CPU time could not be read: {error}"))),
        None => Err(MeasureError::Failed("it wrote before it was started".into())),
    }
}

fn figures(order: &Order, report: &Report, watched: &Watched) -> Result<Case, MeasureError> {
    let wall_s = report.end - report.start;
    if !(wall_s > 0.0 && wall_s < 1e6) {
        return Err(MeasureError::Failed(format!("its clock ran from {} to {}", report.start, report.end)));
    }
    let wall = Duration::from_secs_f64(wall_s);
    let usage_of = |told: &Told| {
        let found = watched.threads.iter().find(|thread| thread.tid == told.tid);
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
        run_delay_percent: percent_of(usage.run_delay, wall),
        voluntary_switches: usage.voluntary_switches,
        involuntary_switches: usage.involuntary_switches,
    });

    // Cores are read at the looks only, so their figures are of the looks within the run.
    let time = |look: &Look| match report.clock {
        Clock::Monotonic => look.monotonic_s,
        Clock::Time => look.unix_s,
    };
    let within: Vec<&Look> =
        watched.looks.iter().filter(|look| (report.start..=report.end).contains(&time(look))).collect();
    let mut cpu = CpuFigures {
        cpu_percent: total(|usage| usage.cpu),
        user_percent: total(|usage| usage.user),
        system_percent: total(|usage| usage.system),
        threads: threads.collect(),
        cores: Vec::new(),
        timeline: Vec::new(),
        sampler: SamplerFigures {
            hz: order.schedule.hz.get(),
            cost_percent: watched.cost_percent,
            missed: watched.missed,
        },
        others_percent: None,
        steal_percent: None,
        in_doubt: in_doubt(&watched.looks),
    };
    let mut missing = BTreeMap::new();
    let of_cores: Vec<(&Look, &[CoreUsage])> =
        within.iter().filter_map(|look| Some((*look, look.cores.as_deref()?))).collect();
    if let [(first, cores_at_first), .., (last, cores_at_last)] = of_cores[..] {
        let span = between(first, last);
        let used = |look: &Look| look.threads.iter().map(|thread| thread.cpu).sum::<Duration>();
        let own = percent_of(used(last).saturating_sub(used(first)), span);
        let steal = |cores: &[CoreUsage]| cores.iter().map(|core| core.steal).sum::<Duration>();
        cpu.others_percent = Some((busy_percent(cores_at_first, cores_at_last, span) - own).max(0.0));
        cpu.steal_percent = Some(percent_of(steal(cores_at_last).saturating_sub(steal(cores_at_first)), span));
        cpu.cores = core_figures(cores_at_first, cores_at_last, span);
        cpu.timeline = timeline(report, time, &within);
        if cpu.timeline.iter().any(|step| step.cores.is_none()) {
            let most = Sampler::CORES_HZ;
            let reason =
                format!("the cores' figures move in steps of 10 ms: they are read {most} times a second at most");
            missing.insert("timeline.cores".into(), reason);
        }
    } else {
        let reason = format!(
            "the run was too short: cores are read {} times a second",
            order.schedule.hz.get().min(Sampler::CORES_HZ)
        );
        for key in ["cores", "timeline", "others_percent", "steal_percent"] {
            missing.insert(key.into(), reason.clone());
        }
    }
    Ok(Case {
        case: order.case.into(),
        variant: order.variant.map(Into::into),
        wall_s,
        cpu: Some(cpu),
        metrics: BTreeMap::new(),
        judgement: None,
        missing,
    })
}

/// By how much the wall clock may seem to be set: reading it just after CLOCK_MONOTONIC, a watching thread may lose its
/// core in between.
const CLOCKS_APART_S: f64 = 0.05;

/// Whether the machine stayed what it was: the wall clock, by which the talk's loop ends, ran with CLOCK_MONOTONIC, which
/// nothing but a step ends (both are slewed alike, adjtimex(2)); and the same cores were online.
fn in_doubt(looks: &[Look]) -> Option<String> {
    let apart = |look: &Look| look.unix_s - look.monotonic_s;
    let step = looks.windows(2).map(|pair| apart(&pair[1]) - apart(&pair[0])).find(|step| step.abs() > CLOCKS_APART_S);
    if let Some(step) = step {
        return Some(format!("the wall clock was set by {step:.2} s"));
    }
    let online = |cores: &[CoreUsage]| cores.iter().map(|core| core.core).collect::<Vec<_>>();
    let sets: Vec<Vec<u32>> = looks.iter().filter_map(|look| Some(online(look.cores.as_deref()?))).collect();
    let change = sets.windows(2).find(|pair| pair[0] != pair[1])?;
    Some(format!("the cores online changed from {:?} to {:?}", change[0], change[1]))
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

/// A step for each pair of looks. One in which the cores were read has their figures since they were read before.
fn timeline(report: &Report, time: impl Fn(&Look) -> f64, looks: &[&Look]) -> Vec<Step> {
    let cpu = |look: &Look, tid| {
        look.threads.iter().find(|thread| thread.tid == tid).map_or(Duration::ZERO, |thread| thread.cpu)
    };
    let mut steps = Vec::new();
    let mut read = None;
    for (index, &look) in looks.iter().enumerate() {
        let reading = look.cores.as_deref().map(|cores| (look, cores));
        let since_read = read.zip(reading).map(|((before, old), (_, new))| {
            let figures = core_figures(old, new, between(before, look));
            figures.iter().map(|core| core.cpu_percent).collect()
        });
        read = reading.or(read);
        let Some(&before) = index.checked_sub(1).and_then(|before| looks.get(before)) else { continue };
        let span = between(before, look);
        let used = |told: &Told| percent_of(cpu(look, told.tid).saturating_sub(cpu(before, told.tid)), span);
        steps.push(Step {
            t_s: time(look) - report.start,
            threads: report.threads.iter().map(used).collect(),
            cores: since_read,
        });
    }
    steps
}

fn between(before: &Look, after: &Look) -> Duration {
    Duration::from_secs_f64(after.monotonic_s - before.monotonic_s)
}

/// As much of a line as an error message bears.
pub(crate) fn cut(line: &str) -> String {
    format!("{:?}", line.chars().take(80).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use busy_core::cpu::ThreadSample;

    /// A look at so many milliseconds: CPU time of one thread, and of one core where it was read.
    fn look(at: u64, cpu: u64, core: Option<u64>) -> Look {
        let ms = Duration::from_millis;
        let idle = CoreUsage { core: 0, user: ms(0), system: ms(0), idle: ms(at), steal: ms(0) };
        Look {
            monotonic_s: at as f64 / 1e3,
            unix_s: 0.0,
            threads: vec![ThreadSample { tid: 7, cpu: ms(cpu), run_delay: ms(0) }],
            cores: core.map(|busy| vec![CoreUsage { user: ms(busy), ..idle }]),
        }
    }

    #[test]
    fn a_machine_that_changes_puts_the_figures_in_doubt() {
        let at = |ms: u64, unix_s: f64, cores: &[u32]| {
            let mut look = look(ms, 0, Some(0));
            let core = look.cores.take().unwrap().remove(0);
            look.cores = Some(cores.iter().map(|&number| CoreUsage { core: number, ..core.clone() }).collect());
            Look { unix_s, ..look }
        };
        assert_eq!(in_doubt(&[at(0, 50.0, &[0, 1]), at(100, 50.1, &[0, 1]), at(200, 50.21, &[0, 1])]), None);
        let set = in_doubt(&[at(0, 50.0, &[0]), at(100, 49.1, &[0]), at(200, 49.2, &[0])]);
        assert_eq!(set.as_deref(), Some("the wall clock was set by -1.00 s"));
        let unread = Look { cores: None, ..at(100, 50.1, &[]) };
        let gone = in_doubt(&[at(0, 50.0, &[0, 1]), unread, at(200, 50.2, &[0])]);
        assert_eq!(gone.as_deref(), Some("the cores online changed from [0, 1] to [0]"));
    }

    #[test]
    fn a_step_has_the_cores_since_they_were_last_read_if_they_were_read_in_it() {
        let told = Told { name: "internal".into(), tid: 7, count: Some(1), error: None };
        let report = Report { clock: Clock::Monotonic, start: 1.0, end: 2.0, threads: vec![told] };
        let looks = [
            look(1000, 50, None),
            look(1004, 54, Some(10)),
            look(1008, 54, None),
            look(1012, 58, None),
            look(1024, 64, Some(20)),
        ];
        let looks: Vec<&Look> = looks.iter().collect();
        let steps = timeline(&report, |look| look.monotonic_s, &looks);
        let figures = steps.iter().map(|step| {
            let round = |percent: &f64| percent.round() as i64;
            let cores = step.cores.as_ref().map(|cores| cores.iter().map(round).collect::<Vec<_>>());
            ((step.t_s * 1e3).round() as i64, round(&step.threads[0]), cores)
        });
        let expected = [(4, 100, None), (8, 0, None), (12, 100, None), (24, 50, Some(vec![50]))];
        assert_eq!(figures.collect::<Vec<_>>(), expected);
    }
}
