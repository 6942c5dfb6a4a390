//! The evenness of a load: its share of a core in windows of 100 ms. One external observer measures both sides.

use super::bench::Bench;
use crate::child::{Trouble, on_core, text};
use crate::quiet::{self, Rounds};
use crate::row::{Figure, Round, Row, Unit, Wanted};
use crate::spread::standard_deviation;
use crate::task_clock::TaskClock;
use busy_core::busy_wait;
use busy_core::clock::monotonic_ns;
use busy_lab::process::{Event, Supervised};
use std::thread::sleep;
use std::time::Duration;

const PERCENTS: [u32; 4] = [10, 30, 50, 90];
const WINDOW_NS: u64 = 100_000_000;
/// Delay before the first window, because stress-ng needs time to start.
const STARTUP: Duration = Duration::from_millis(500);
/// The observer sleeps until this long before the end of a window, and then spins, so that it is not late.
const SPIN: Duration = Duration::from_micros(300);

pub fn rows() -> Vec<Row> {
    let row = |row: &str, what, percent, unit| {
        Row::ratio(format!("{percent}-{row}"), what, "stress-ng --cpu-load", format!("{percent}%"), unit)
    };
    let deviation = |percent| row("deviation", "busy load: deviation over 100 ms windows", percent, Unit::Points);
    let error =
        |percent| row("error", "busy load: error of the total", percent, Unit::Points).with_figure(Figure::Value);
    let deviations = PERCENTS.map(|percent| deviation(percent).wanted(Wanted::AtMost(1.0 / 50.0)));
    let errors = PERCENTS.map(|percent| error(percent).wanted(Wanted::AtMost(0.05)));
    deviations.into_iter().chain(errors).collect()
}

pub fn measure(bench: &Bench) -> Result<Vec<Rounds>, Trouble> {
    let windows = bench.size(20, 3);
    // Long enough for all windows even if they are delayed. Normally the supervisor ends the program earlier.
    let seconds = windows + 30;
    let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let mut all = Vec::new();
    for percent in PERCENTS {
        let ours = words(&format!("load --load {percent}% --for {seconds}s"));
        let ours = [vec![text(&bench.busy)], ours].concat();
        let theirs = words(&format!("stress-ng --quiet --cpu 1 --cpu-load {percent} --timeout {seconds}"));
        all.push(quiet::rounds(bench.plan(3), || {
            let mut round = Round::default();
            let (deviation, error) = evenness(bench, percent, &ours, windows)?;
            let (mut deviations, mut errors) = (vec![deviation], vec![error]);
            match evenness(bench, percent, &theirs, windows) {
                Ok((deviation, error)) => {
                    deviations.push(deviation);
                    errors.push(error);
                    round.figures.insert(format!("{percent}-deviation"), deviations);
                }
                Err(Trouble::Failed(why)) => {
                    round.missing.insert(format!("{percent}-deviation"), format!("stress-ng: {why}"));
                }
                Err(interrupted) => return Err(interrupted),
            }
            round.figures.insert(format!("{percent}-error"), errors);
            Ok(round)
        })?);
    }
    Ok(all)
}

/// Returns the standard deviation over the windows, and the absolute error of the total, in percentage points of a
/// core.
fn evenness(bench: &Bench, percent: u32, command: &[String], windows: usize) -> Result<(f64, f64), Trouble> {
    let supervised = Supervised::start(&on_core(bench.measured, command, 120.0)?)?;
    let pid = loop {
        match supervised.next()? {
            Event::Started(pid) => break pid,
            Event::Line(_) => {}
            Event::Ended(ended) => return Err(Trouble::Failed(ended.to_string())),
        }
    };
    sleep(STARTUP);
    let (windows, overall) = match observe(pid, windows) {
        Ok(shares) => shares,
        // If the program has exited, the reason is its exit.
        Err(trouble) => match supervised.output()?.success() {
            Ok(_) => return Err(trouble),
            Err(why) => return Err(Trouble::Failed(why)),
        },
    };
    Ok((standard_deviation(&windows), (overall - f64::from(percent)).abs()))
}

/// Returns the CPU utilization, in percent of a core, of process `pid` and its descendants: in each of `count` windows,
/// which end at whole multiples of their length, and in total, over a time that includes one more window before and one
/// after these.
fn observe(pid: u32, count: usize) -> Result<(Vec<f64>, f64), Trouble> {
    let mut clock = TaskClock::open(pid)?;
    let first = monotonic_ns() / WINDOW_NS + 1;
    let sleep_until = |window: usize| {
        let end = (first + window as u64) * WINDOW_NS;
        let left = || Duration::from_nanos(end.saturating_sub(monotonic_ns()));
        sleep(left().saturating_sub(SPIN));
        busy_wait(left());
    };
    sleep_until(0);
    let start = clock.read_stopped()?;
    let mut samples = Vec::new();
    for window in 1..=count + 1 {
        sleep_until(window);
        samples.push((monotonic_ns(), clock.read()?));
    }
    sleep_until(count + 2);
    let end = clock.read_stopped()?;
    Ok((samples.windows(2).map(|pair| percent(pair[0], pair[1])).collect(), percent(start, end)))
}

fn percent((time, cpu): (u64, Duration), (later, more): (u64, Duration)) -> f64 {
    100.0 * (more - cpu).as_nanos() as f64 / (later - time) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use busy_core::cpu;
    use std::process::Command;

    #[test]
    fn a_spinning_process_is_observed_to_use_cpu_time() {
        let mut spinner = Command::new("sh").args(["-c", "while :; do :; done"]).spawn().unwrap();
        let observed = observe(spinner.id(), 3);
        let used = cpu::process(spinner.id()).unwrap();
        spinner.kill().unwrap();
        spinner.wait().unwrap();
        match observed {
            Ok((windows, overall)) => {
                assert_eq!(windows.len(), 3);
                // This holds on a loaded machine, too: the observed time exceeds the used time by less than a tick, and
                // is above zero if the process got a fair share of the core.
                let seen = Duration::from_millis(5).mul_f64(overall);
                let in_windows = Duration::from_millis(1).mul_f64(windows.iter().sum());
                let tick = Duration::from_millis(10);
                assert!(seen < used + tick && in_windows < seen + tick, "{windows:?}, {seen:?} of {used:?}");
                let fair = Duration::from_millis(300);
                assert!(used < fair || (!seen.is_zero() && !in_windows.is_zero()), "{windows:?}, {seen:?} of {used:?}");
            }
            // perf_event_open(2) may be forbidden.
            Err(Trouble::Failed(why)) => assert!(why.contains("perf_event_open"), "{why}"),
            Err(Trouble::Interrupted) => panic!("the observation was not interrupted"),
        }
    }
}
