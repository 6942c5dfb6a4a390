//! The latency between a cancellation in one thread and the end of the wait in another.

use super::bench::Bench;
use crate::child::{self, Trouble, text};
use crate::quiet::{self, Rounds};
use crate::row::{Figure, Row, Unit, Wanted};

const C_LOOP: &str = "a C loop with an atomic flag";

pub fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for (name, what) in [("cancel", "busy_cancel_set to return"), ("fifo", "busy_cancel_set to return, SCHED_FIFO")] {
        let row = |row: &str, case: &str, unit| Row::ratio(format!("{name}-{row}"), what, C_LOOP, case, unit);
        let unpreempted = row("late-unpreempted", "of these, unpreempted", Unit::Count).with_figure(Figure::Sum);
        rows.extend([
            row("p50", "p50", Unit::Ns),
            row("p99", "p99", Unit::Ns),
            row("max", "longest", Unit::Ns).with_figure(Figure::Largest),
            row("late", "over 1 ms", Unit::Count).with_figure(Figure::Sum),
            unpreempted.wanted(Wanted::AtMost(0.0)),
        ]);
    }
    rows
}

pub fn measure(bench: &Bench) -> Result<Vec<Rounds>, Trouble> {
    if bench.observer == bench.measured {
        return Err(Trouble::Failed("needs two cores, but this process may use only one (taskset)".into()));
    }
    let peers = bench.peers()?;
    let cores = [bench.observer, bench.measured].map(|core| core.to_string());
    let mut command = vec![text(&bench.program("cancel")?), text(&bench.libbusy), text(&peers)];
    command.extend(cores);
    command.push(bench.size(1000, 40).to_string());
    // The program starts on one core, and then pins its threads itself. The first affinity does not restrict later
    // ones.
    Ok(vec![quiet::rounds(bench.plan(7), || child::round(bench.observer, &command))?])
}
