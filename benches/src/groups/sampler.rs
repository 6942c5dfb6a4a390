//! The cost and the accuracy of sampling a process's threads and the cores.

use super::bench::Bench;
use crate::child::{self, Trouble, on_core, source, text};
use crate::quiet::{self, Rounds};
use crate::row::{Figure, Round, Row, Unit, Wanted};
use crate::spread::Spread;
use busy_core::clock::monotonic_ns;
use busy_core::cpu::{Sampler, current_thread};
use busy_core::pace::Pace;
use busy_lab::process::{Event, Supervised};
use procfs::process::Process;
use procfs::{CurrentSI, KernelStats};
use std::num::NonZero;

const HZ: NonZero<u32> = NonZero::new(100).expect("a hundred");
const THREADS: u32 = 16;
/// Wake-ups per second of each thread in the rows with threads that wake up.
const WAKES_HZ: u32 = 50;

pub fn rows() -> Vec<Row> {
    let asleep = "sampling 16 sleeping threads, and the cores, at 100 Hz";
    let awake = "the same with 16 threads that wake up 50 times a second";
    let of =
        |what: &'static str| move |row: &str, peer: &str| Row::ratio(row, what, "", peer, Unit::Percent).without_peer();
    let (cost, awake) = (of(asleep), of(awake));
    let spinner = Row::ratio("spinner", "sampling a spinning process at 10 Hz", "", "median error", Unit::Points);
    vec![
        cost("cost", "percent of a core").with_figure(Figure::Value).wanted(Wanted::AtMost(0.7)),
        cost("procfs", "the crate procfs").wanted(Wanted::AtMost(1.0 / 3.0)),
        cost("psutil", "psutil's threads()"),
        awake("awake-cost", "percent of a core").with_figure(Figure::Value).wanted(Wanted::AtMost(0.7)),
        awake("awake-procfs", "the crate procfs").wanted(Wanted::AtMost(1.0 / 3.0)),
        spinner.without_peer().with_figure(Figure::Value).wanted(Wanted::AtMost(0.2)),
    ]
}

pub fn measure(bench: &Bench) -> Result<Vec<Rounds>, Trouble> {
    let program = text(&bench.program("targets")?);
    let samples = bench.size(200, 10) as u64;
    let costs = quiet::rounds(bench.plan(5), || {
        // The targets run on the observer's core.
        let (awake, pid) = start(bench.observer, &[program.clone(), THREADS.to_string(), WAKES_HZ.to_string()])?;
        wait_for_line(&awake)?;
        let costs = |pid| bench.while_pinned(|| Ok((cost_of_busy(pid, samples)?, cost_of_procfs(pid, samples)?)));
        let mut round = Round::default();
        let (ours, procfs) = costs(pid)?;
        round.figures.insert("awake-cost".into(), vec![ours]);
        round.figures.insert("awake-procfs".into(), vec![ours, procfs]);
        drop(awake);
        let (target, pid) = start(bench.observer, &[program.clone(), THREADS.to_string()])?;
        wait_for_line(&target)?;
        let (ours, procfs) = costs(pid)?;
        round.figures.insert("cost".into(), vec![ours]);
        round.figures.insert("procfs".into(), vec![ours, procfs]);
        match cost_of_psutil(bench, pid, samples) {
            Ok(psutil) => drop(round.figures.insert("psutil".into(), vec![ours, psutil])),
            Err(Trouble::Failed(why)) => drop(round.missing.insert("psutil".into(), why)),
            Err(interrupted) => return Err(interrupted),
        }
        Ok(round)
    })?;
    let spinner = quiet::rounds(bench.plan(5), || {
        let (_spinner, pid) = start(bench.measured, std::slice::from_ref(&program))?;
        let off = (median_percent(pid, bench.size(20, 3) as u64)? - 100.0).abs();
        Ok(Round { figures: [("spinner".into(), vec![off])].into(), ..Round::default() })
    })?;
    Ok(vec![costs, spinner])
}

fn start(core: usize, command: &[String]) -> Result<(Supervised, u32), Trouble> {
    let supervised = Supervised::start(&on_core(core, command, 60.0)?)?;
    match supervised.next()? {
        Event::Started(pid) => Ok((supervised, pid)),
        other => Err(Trouble::Failed(format!("{command:?}: {other:?}"))),
    }
}

/// Waits for the only line of the target, which is printed when all its threads have started.
fn wait_for_line(target: &Supervised) -> Result<(), Trouble> {
    match target.next()? {
        Event::Line(_) => Ok(()),
        other => Err(Trouble::Failed(format!("the process to be sampled: {other:?}"))),
    }
}

fn cost_of_busy(pid: u32, samples: u64) -> Result<f64, Trouble> {
    let mut sampler = Sampler::open(pid)?;
    cost(samples, || {
        let found = sampler.sample()?.threads.len();
        expect_all(found)
    })
}

/// Returns the cost of the same samples with procfs, which reads the CPU time and the run delay of each thread, and the
/// cores as often as busy does.
fn cost_of_procfs(pid: u32, samples: u64) -> Result<f64, Trouble> {
    let failed = |error: procfs::ProcError| Trouble::Failed(error.to_string());
    let process = Process::new(pid.cast_signed()).map_err(failed)?;
    let mut done = 0;
    cost(samples, || {
        let tasks = process.tasks().map_err(failed)?;
        let read = tasks.flatten().filter(|task| task.schedstat().is_ok()).count();
        if done % (HZ.get() / Sampler::CORES_HZ) == 0 {
            KernelStats::current().map_err(failed)?;
        }
        done += 1;
        expect_all(read)
    })
}

fn expect_all(found: usize) -> Result<(), Trouble> {
    if found == THREADS as usize {
        return Ok(());
    }
    Err(Trouble::Failed(format!("expected {THREADS} threads, found {found}")))
}

/// Returns the CPU utilization of this thread while it calls `sample` at [`HZ`], in percent of a core, including
/// wake-ups.
fn cost(samples: u64, mut sample: impl FnMut() -> Result<(), Trouble>) -> Result<f64, Trouble> {
    let (start, cpu) = (monotonic_ns(), current_thread());
    let mut pace = Pace::start(HZ);
    for _ in 0..samples {
        pace.wait(|| true);
        sample()?;
    }
    // The last sample gets a full period, too.
    pace.wait(|| true);
    let used = current_thread() - cpu;
    Ok(100.0 * used.as_nanos() as f64 / (monotonic_ns() - start) as f64)
}

fn cost_of_psutil(bench: &Bench, pid: u32, samples: u64) -> Result<f64, Trouble> {
    let script = text(&source("python/threads.py"));
    let seconds = samples as f64 / f64::from(HZ.get());
    let python = text(&bench.python()?.command);
    let command = [python, "-I".into(), script, pid.to_string(), HZ.to_string(), seconds.to_string()];
    let round = child::round(bench.measured, &command)?;
    let found = round.figures.get("psutil").and_then(|values| values.first());
    found.copied().ok_or_else(|| Trouble::Failed("threads.py reported no figure".into()))
}

/// Returns the median CPU utilization of the first thread of process `pid`, over `windows` tenths of a second, in
/// percent of a core.
fn median_percent(pid: u32, windows: u64) -> Result<f64, Trouble> {
    let mut sampler = Sampler::open(pid)?;
    let mut pace = Pace::start(NonZero::new(10).expect("ten"));
    let mut samples = Vec::new();
    for _ in 0..=windows {
        pace.wait(|| true);
        let sample = sampler.sample()?;
        let first = sample.threads.first().ok_or_else(|| Trouble::Failed("the spinning process has exited".into()))?;
        samples.push((sample.monotonic_ns, first.cpu));
    }
    let percents = samples.windows(2).map(|pair| {
        let [(time, cpu), (later, more)] = [pair[0], pair[1]];
        100.0 * (more - cpu).as_nanos() as f64 / (later - time) as f64
    });
    let spread = Spread::of(&percents.collect::<Vec<_>>());
    Ok(spread.expect("at least one window, and none of zero length").median)
}
