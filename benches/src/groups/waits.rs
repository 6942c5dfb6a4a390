//! The overshoot and the polling rate of waits: libbusy against a loop in C, and against the crate spin_sleep.

use super::bench::Bench;
use crate::child::{self, Trouble, text};
use crate::quiet::{self, Rounds};
use crate::row::{Round, Row, Unit, Wanted};
use crate::spread::quantile;
use busy_core::clock::monotonic_ns;
use busy_lab::provision::loader::Libbusy;
use std::time::Duration;

const MICROSECONDS: [u64; 3] = [1, 10, 100];
const C_LOOP: &str = "a C loop of clock_gettime";
/// Calls of one side per turn, as in c/waits.c.
const TURN: u64 = 50;
/// Nanoseconds by which the requested duration increases from call to call. The increase over a turn is slightly more
/// than one step of spin_sleep, which calls sched_yield(2) before each reading of the clock. So each wait ends at a
/// different point of a step.
const STEP: u64 = 10;

pub fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for (name, what, peer, bound) in [
        ("monotonic", "overshoot of busy_wait_ns", C_LOOP, 1.1),
        ("tsc", "overshoot of busy_wait_ns by BUSY_CLOCK_TSC", C_LOOP, 0.9),
        ("spin-sleep", "overshoot of busy_wait_ns", "the crate spin_sleep", 0.3),
    ] {
        for us in MICROSECONDS {
            let row = |share| {
                Row::ratio(format!("{name}-{us}-us-{share}"), what, peer, format!("{us} us, {share}"), Unit::Ns)
            };
            rows.extend([row("p50").wanted(Wanted::AtMost(bound)), row("p99")]);
        }
    }
    let polls = Row::ratio("polls", "polls of busy_wait_ns", C_LOOP, "per second", Unit::PerSecond);
    rows.push(polls.wanted(Wanted::AtLeast(0.98)));
    rows
}

pub fn measure(bench: &Bench) -> Result<Vec<Rounds>, Trouble> {
    let peers = bench.peers()?;
    let program = bench.program("waits")?;
    let libbusy = Libbusy::open(&bench.libbusy).map_err(|error| Trouble::Failed(error.to_string()))?;
    let calls = bench.size(1000, 60);
    let command = [text(&program), text(&bench.libbusy), text(&peers), calls.to_string()];
    let rounds = quiet::rounds(bench.plan(21), || {
        let mut round = child::round(bench.measured, &command)?;
        bench.while_pinned(|| {
            against_spin_sleep(&libbusy, calls, &mut round);
            Ok(())
        })?;
        Ok(round)
    })?;
    Ok(vec![rounds])
}

/// Measures libbusy against spin_sleep. Both are called from Rust, because spin_sleep is a Rust crate; libbusy is
/// called through the pointer from dlopen.
fn against_spin_sleep(libbusy: &Libbusy, calls: usize, round: &mut Round) {
    let busy: &dyn Fn(Duration) = &|duration| drop(libbusy.wait(duration));
    let spin_sleep: &dyn Fn(Duration) = &|duration| spin_sleep::sleep(duration);
    for us in MICROSECONDS {
        let mut overshoots = [(busy, Vec::new()), (spin_sleep, Vec::new())];
        while overshoots[0].1.len() < calls {
            for (wait, overshoot) in &mut overshoots {
                overshoot.extend((0..TURN).map(|call| overshoot_ns(wait, us * 1000 + call * STEP)));
            }
        }
        let sorted = overshoots.map(|(_, mut overshoot)| {
            overshoot.sort_by(f64::total_cmp);
            overshoot
        });
        for (name, share) in [("p50", 0.5), ("p99", 0.99)] {
            let figures = sorted.iter().map(|overshoot| quantile(overshoot, share)).collect();
            round.figures.insert(format!("spin-sleep-{us}-us-{name}"), figures);
        }
    }
}

fn overshoot_ns(wait: &dyn Fn(Duration), requested: u64) -> f64 {
    let duration = Duration::from_nanos(requested);
    let before = monotonic_ns();
    wait(duration);
    let after = monotonic_ns();
    // The result is negative if a sleep ends early.
    (after - before) as f64 - requested as f64
}
