//! Computes the figures of a case from the script's report and the samples of its threads.

use super::host::busy_percent;
use super::sampling::{Sample, Sampled};
use super::{MeasureError, Order};
use crate::results::{Case, CoreFigures, CpuFigures, SamplerFigures, Step, ThreadFigures};
use crate::units::percent_of;
use busy_core::cpu::{CoreUsage, Sampler, ThreadUsage};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// The report that a script prints (experiments/side_by_side.py).
#[derive(Deserialize)]
pub(super) struct Report {
    clock: Clock,
    start: f64,
    end: f64,
    pub(super) threads: Vec<ReportedThread>,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "lowercase")]
enum Clock {
    Monotonic,
    Time,
}

#[derive(Deserialize)]
pub(super) struct ReportedThread {
    pub(super) name: String,
    tid: u32,
    count: Option<u64>,
    pub(super) error: Option<String>,
}

/// Returns the figures of the case, not yet judged.
///
/// # Errors
/// The report contradicts the samples.
pub(super) fn figures(order: &Order, report: &Report, sampled: &Sampled) -> Result<Case, MeasureError> {
    let wall_s = report.end - report.start;
    if !(wall_s > 0.0 && wall_s < 1e6) {
        return Err(MeasureError::Failed(format!("its clock ran from {} to {}", report.start, report.end)));
    }
    let wall = Duration::from_secs_f64(wall_s);
    let usage_of = |reported: &ReportedThread| {
        let found = sampled.threads.iter().find(|thread| thread.tid == reported.tid);
        found.ok_or_else(|| {
            MeasureError::Failed(format!(
                "thread {} ({}) had ended before its last sample",
                reported.tid, reported.name
            ))
        })
    };
    // The threads were started for this case and have slept since its end, so their total CPU time is the case's.
    let usages: Vec<&ThreadUsage> = report.threads.iter().map(usage_of).collect::<Result<_, _>>()?;
    let total = |part: fn(&ThreadUsage) -> Duration| percent_of(usages.iter().map(|usage| part(usage)).sum(), wall);
    let threads = report.threads.iter().zip(&usages).map(|(reported, usage)| ThreadFigures {
        name: reported.name.clone(),
        tid: reported.tid,
        count: reported.count.unwrap_or(0),
        cpu_percent: percent_of(usage.cpu, wall),
        run_delay_percent: percent_of(usage.run_delay, wall),
        voluntary_switches: usage.voluntary_switches,
        involuntary_switches: usage.involuntary_switches,
    });

    // Cores are read only in samples, so their figures come from the samples within the run.
    let time = |sample: &Sample| match report.clock {
        Clock::Monotonic => sample.monotonic_s,
        Clock::Time => sample.unix_s,
    };
    let within: Vec<&Sample> =
        sampled.samples.iter().filter(|sample| (report.start..=report.end).contains(&time(sample))).collect();
    let mut cpu = CpuFigures {
        cpu_percent: total(|usage| usage.cpu),
        user_percent: total(|usage| usage.user),
        system_percent: total(|usage| usage.system),
        threads: threads.collect(),
        cores: Vec::new(),
        timeline: Vec::new(),
        sampler: SamplerFigures {
            hz: order.schedule.hz.get(),
            cost_percent: sampled.cost_percent,
            missed: sampled.missed,
        },
        others_percent: None,
        steal_percent: None,
        in_doubt: in_doubt(&sampled.samples),
    };
    let mut missing = BTreeMap::new();
    let of_cores: Vec<(&Sample, &[CoreUsage])> =
        within.iter().filter_map(|sample| Some((*sample, sample.cores.as_deref()?))).collect();
    if let [(first, cores_at_first), .., (last, cores_at_last)] = of_cores[..] {
        let span = between(first, last);
        let used = |sample: &Sample| sample.threads.iter().map(|thread| thread.cpu).sum::<Duration>();
        let own = percent_of(used(last).saturating_sub(used(first)), span);
        let steal = |cores: &[CoreUsage]| cores.iter().map(|core| core.steal).sum::<Duration>();
        cpu.others_percent = Some((busy_percent(cores_at_first, cores_at_last, span) - own).max(0.0));
        cpu.steal_percent = Some(percent_of(steal(cores_at_last).saturating_sub(steal(cores_at_first)), span));
        cpu.cores = core_figures(cores_at_first, cores_at_last, span);
        cpu.timeline = timeline(report, time, &within);
        if cpu.timeline.iter().any(|step| step.cores.is_none()) {
            let most = Sampler::CORES_HZ;
            let reason = format!(
                "the cores' figures change in steps of 10 ms, so they are read at most {most} times per second"
            );
            missing.insert("timeline.cores".into(), reason);
        }
    } else {
        let reason = format!(
            "the run was too short: cores are read {} times per second",
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

/// The largest apparent step of the wall clock that is ignored: the sampling thread reads it just after
/// CLOCK_MONOTONIC, and may lose its CPU in between.
const CLOCKS_APART_S: f64 = 0.05;

/// Returns the change of the machine that makes the figures unreliable, if there was one: the wall clock, which ends
/// the talk's loop, was set (slewing changes it and CLOCK_MONOTONIC alike, adjtimex(2)), or cores went online or
/// offline.
fn in_doubt(samples: &[Sample]) -> Option<String> {
    let apart = |sample: &Sample| sample.unix_s - sample.monotonic_s;
    let step =
        samples.windows(2).map(|pair| apart(&pair[1]) - apart(&pair[0])).find(|step| step.abs() > CLOCKS_APART_S);
    if let Some(step) = step {
        return Some(format!("the wall clock was set by {step:.2} s"));
    }
    let online = |cores: &[CoreUsage]| cores.iter().map(|core| core.core).collect::<Vec<_>>();
    let sets: Vec<Vec<u32>> = samples.iter().filter_map(|sample| Some(online(sample.cores.as_deref()?))).collect();
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

/// Returns a step for each pair of samples. If the cores were read in a step, it contains their figures since their
/// previous reading.
fn timeline(report: &Report, time: impl Fn(&Sample) -> f64, samples: &[&Sample]) -> Vec<Step> {
    let cpu = |sample: &Sample, tid| {
        sample.threads.iter().find(|thread| thread.tid == tid).map_or(Duration::ZERO, |thread| thread.cpu)
    };
    let mut steps = Vec::new();
    let mut read = None;
    for (index, &sample) in samples.iter().enumerate() {
        let reading = sample.cores.as_deref().map(|cores| (sample, cores));
        let since_read = read.zip(reading).map(|((before, old), (_, new))| {
            let figures = core_figures(old, new, between(before, sample));
            figures.iter().map(|core| core.cpu_percent).collect()
        });
        read = reading.or(read);
        let Some(&before) = index.checked_sub(1).and_then(|before| samples.get(before)) else { continue };
        let span = between(before, sample);
        let used = |reported: &ReportedThread| {
            percent_of(cpu(sample, reported.tid).saturating_sub(cpu(before, reported.tid)), span)
        };
        steps.push(Step {
            t_s: time(sample) - report.start,
            threads: report.threads.iter().map(used).collect(),
            cores: since_read,
        });
    }
    steps
}

fn between(before: &Sample, after: &Sample) -> Duration {
    Duration::from_secs_f64(after.monotonic_s - before.monotonic_s)
}

#[cfg(test)]
mod tests {
    use super::*;
    use busy_core::cpu::ThreadSample;

    /// Returns a sample at `at` ms, with the CPU time of one thread, and of one core if the core was read.
    fn sample(at: u64, cpu: u64, core: Option<u64>) -> Sample {
        let ms = Duration::from_millis;
        let idle = CoreUsage { core: 0, user: ms(0), system: ms(0), idle: ms(at), steal: ms(0) };
        Sample {
            monotonic_s: at as f64 / 1e3,
            unix_s: 0.0,
            threads: vec![ThreadSample { tid: 7, cpu: ms(cpu), run_delay: ms(0) }],
            cores: core.map(|busy| vec![CoreUsage { user: ms(busy), ..idle }]),
        }
    }

    #[test]
    fn a_machine_that_changes_makes_the_figures_unreliable() {
        let at = |ms: u64, unix_s: f64, cores: &[u32]| {
            let mut sample = sample(ms, 0, Some(0));
            let core = sample.cores.take().unwrap().remove(0);
            sample.cores = Some(cores.iter().map(|&number| CoreUsage { core: number, ..core.clone() }).collect());
            Sample { unix_s, ..sample }
        };
        assert_eq!(in_doubt(&[at(0, 50.0, &[0, 1]), at(100, 50.1, &[0, 1]), at(200, 50.21, &[0, 1])]), None);
        let set = in_doubt(&[at(0, 50.0, &[0]), at(100, 49.1, &[0]), at(200, 49.2, &[0])]);
        assert_eq!(set.as_deref(), Some("the wall clock was set by -1.00 s"));
        let unread = Sample { cores: None, ..at(100, 50.1, &[]) };
        let gone = in_doubt(&[at(0, 50.0, &[0, 1]), unread, at(200, 50.2, &[0])]);
        assert_eq!(gone.as_deref(), Some("the cores online changed from [0, 1] to [0]"));
    }

    #[test]
    fn a_step_has_the_cores_since_they_were_last_read_if_they_were_read_in_it() {
        let thread = ReportedThread { name: "internal".into(), tid: 7, count: Some(1), error: None };
        let report = Report { clock: Clock::Monotonic, start: 1.0, end: 2.0, threads: vec![thread] };
        let samples = [
            sample(1000, 50, None),
            sample(1004, 54, Some(10)),
            sample(1008, 54, None),
            sample(1012, 58, None),
            sample(1024, 64, Some(20)),
        ];
        let samples: Vec<&Sample> = samples.iter().collect();
        let steps = timeline(&report, |sample| sample.monotonic_s, &samples);
        let figures = steps.iter().map(|step| {
            let round = |percent: &f64| percent.round() as i64;
            let cores = step.cores.as_ref().map(|cores| cores.iter().map(round).collect::<Vec<_>>());
            ((step.t_s * 1e3).round() as i64, round(&step.threads[0]), cores)
        });
        let expected = [(4, 100, None), (8, 0, None), (12, 100, None), (24, 50, Some(vec![50]))];
        assert_eq!(figures.collect::<Vec<_>>(), expected);
    }
}
