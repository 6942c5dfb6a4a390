//! What a recording costs the recorded program, beside other recorders.

use super::bench::Bench;
use crate::child::{self, Trouble, source, text};
use crate::quiet::{self, Rounds};
use crate::row::{Row, Unit, Wanted};

/// The programs: name, description, and the largest ratio wanted of the time under `busy record` to that alone.
const PROGRAMS: [(&str, &str, f64); 3] = [
    ("loop", "a loop of Python code", 1.01),
    ("100 kHz", "100,000 releases per second", 1.015),
    ("1 MHz", "a loop of os.stat", 1.05),
];
/// The peers, as they are called for it.
const PEERS: [(&str, &str); 2] = [("py-spy", "py-spy record --gil --nonblocking"), ("viztracer", "viztracer")];

pub fn rows() -> Vec<Row> {
    const CPU_TIME: &str = "CPU time under busy record";
    const TIME: &str = "time under busy record";
    let mut rows = Vec::new();
    for (name, case, most) in PROGRAMS {
        let alone = |what, case: &str, unit| Row::ratio(format!("{name} alone"), what, "alone", case, unit);
        let alone = match name {
            "loop" => alone(CPU_TIME, case, Unit::Ms),
            _ => alone(TIME, &format!("per release, {case}"), Unit::Ns),
        };
        rows.push(alone.wanted(Wanted::AtMost(most)));
        rows.extend(PEERS.map(|(peer, called)| Row::ratio(format!("{name} {peer}"), CPU_TIME, called, case, Unit::Ms)));
    }
    let start = |peer: &str, called| {
        let case = "a Python that does nothing";
        Row::ratio(format!("start {peer}"), TIME, called, case, Unit::Ms)
    };
    rows.push(start("alone", "alone"));
    rows.extend(PEERS.map(|(peer, called)| start(peer, called)));
    rows
}

pub fn measure(bench: &Bench) -> Result<Vec<Rounds>, Trouble> {
    let script = text(&source("python/record_cost.py"));
    let (python, busy, folder) = (text(&bench.python()?.command), text(&bench.busy), text(&bench.folder));
    let size = if bench.quick { "quick" } else { "full" };
    let command = [python, "-I".into(), script, busy, folder, size.into()];
    Ok(vec![quiet::rounds(bench.plan(9), || child::round(bench.measured, &command))?])
}
