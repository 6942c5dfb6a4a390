//! How even a load is: the share of a core in windows of 100 ms, by an observer outside that is the same for both.

use super::Bench;
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
/// How long a program is left alone first: stress-ng makes itself at home.
const SETTLES: Duration = Duration::from_millis(500);
/// How long before the end of a window the observer stops sleeping and spins, so that it does not come late.
const AWAKE: Duration = Duration::from_micros(300);

pub fn rows() -> Vec<Row> {
    let row = |row: &str, what, percent, unit| {
        Row::ratio(format!("{percent}-{row}"), what, "stress-ng --cpu-load", format!("{percent}%"), unit)
    };
    let deviation = |percent| row("deviation", "busy load: deviation of 100 ms windows", percent, Unit::Points);
    let error = |percent| row("error", "busy load: error overall", percent, Unit::Points).by(Figure::Value);
    let deviations = PERCENTS.map(|percent| deviation(percent).wanted(Wanted::AtMost(1.0 / 50.0)));
    let errors = PERCENTS.map(|percent| error(percent).wanted(Wanted::AtMost(0.05)));
    deviations.into_iter().chain(errors).collect()
}

pub fn measure(bench: &Bench) -> Result<Vec<Rounds>, Trouble> {
    let windows = bench.size(20, 3);
    // Long enough for all windows, should something slow them down; the guard ends it before.
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

/// The standard deviation of the windows, and the error of all together without its sign, in percentage points of a core.
fn evenness(bench: &Bench, percent: u32, command: &[String], windows: usize) -> Result<(f64, f64), Trouble> {
    let guarded = Supervised::start(&on_core(bench.measured, command, 120.0)?)?;
    let pid = loop {
        match guarded.next()? {
            Event::Started(pid) => break pid,
            Event::Line(_) => {}
            Event::Ended(ended) => return Err(Trouble::Failed(ended.to_string())),
        }
    };
    sleep(SETTLES);
    let (windows, overall) = match observe(pid, windows) {
        Ok(shares) => shares,
        // Perhaps since it has ended: then that is the reason.
        Err(trouble) => match guarded.output()?.success() {
            Ok(_) => return Err(trouble),
            Err(why) => return Err(Trouble::Failed(why)),
        },
    };
    Ok((standard_deviation(&windows), (overall - f64::from(percent)).abs()))
}

/// The percentage of a core in each of `count` windows that end at whole multiples of their length, and in all of them
/// together with the one before and the one behind.
fn observe(pid: u32, count: usize) -> Result<(Vec<f64>, f64), Trouble> {
    let mut clock = TaskClock::open(pid)?;
    let first = monotonic_ns() / WINDOW_NS + 1;
    let sleep_until = |window: usize| {
        let end = (first + window as u64) * WINDOW_NS;
        let left = || Duration::from_nanos(end.saturating_sub(monotonic_ns()));
        sleep(left().saturating_sub(AWAKE));
        busy_wait(left());
    };
    sleep_until(0);
    let start = clock.read_stopped()?;
    let mut looks = Vec::new();
    for window in 1..=count + 1 {
        sleep_until(window);
        looks.push((monotonic_ns(), clock.read()?));
    }
    sleep_until(count + 2);
    let end = clock.read_stopped()?;
    Ok((looks.windows(2).map(|pair| percent(pair[0], pair[1])).collect(), percent(start, end)))
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
    fn a_process_that_does_nothing_else_is_seen_to_spin() {
        let mut spinner = Command::new("sh").args(["-c", "while :; do :; done"]).spawn().unwrap();
        let observed = observe(spinner.id(), 3);
        let used = cpu::process(spinner.id()).unwrap();
        spinner.kill().unwrap();
        spinner.wait().unwrap();
        match observed {
            Ok((windows, overall)) => {
                assert_eq!(windows.len(), 3);
                // However much it gets beside others: no more is seen than it has used, a tick aside, and something is
                // seen where it got a fair part of the time.
                let seen = Duration::from_millis(5).mul_f64(overall);
                let in_windows = Duration::from_millis(1).mul_f64(windows.iter().sum());
                let tick = Duration::from_millis(10);
                assert!(seen < used + tick && in_windows < seen + tick, "{windows:?}, {seen:?} of {used:?}");
                let fair = Duration::from_millis(300);
                assert!(used < fair || (!seen.is_zero() && !in_windows.is_zero()), "{windows:?}, {seen:?} of {used:?}");
            }
            // Not everybody may count.
            Err(Trouble::Failed(why)) => assert!(why.contains("perf_event_open"), "{why}"),
            Err(Trouble::Interrupted) => panic!("nobody interrupted it"),
        }
    }
}
