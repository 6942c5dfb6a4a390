//! What a recording costs the recorded program, beside other recorders.

use super::bench::{Bench, PROFILING, with_profiling};
use crate::child::{self, Trouble, source, text};
use crate::quiet::{self, Rounds};
use crate::row::{Round, Row, Unit, Wanted};
use busy_lab::interpreter::discover;
use busy_lab::results::Interpreter;

/// The programs: name, description, and the largest ratio wanted of the time under `busy record` to that alone.
const PROGRAMS: [(&str, &str, Option<f64>); 4] = [
    ("loop", "a loop of Python code", Some(1.01)),
    ("fight", "four threads that compete for the GIL", None),
    ("100 kHz", "100,000 releases per second", Some(1.015)),
    ("1 MHz", "a loop of os.stat", Some(1.05)),
];
/// The peers, as they are called for it.
const PEERS: [(&str, &str); 3] = [
    ("py-spy", "py-spy record --gil --nonblocking"),
    ("viztracer", "viztracer"),
    (PROFILING, "Python 3.15's profiling.sampling --gecko"),
];

pub fn rows() -> Vec<Row> {
    const CPU_TIME: &str = "CPU time under busy record";
    const TIME: &str = "time under busy record";
    let mut rows = Vec::new();
    for (name, case, most) in PROGRAMS {
        let alone = |what, case: &str, unit| Row::ratio(format!("{name} alone"), what, "alone", case, unit);
        let alone = match name {
            "loop" | "fight" => alone(CPU_TIME, case, Unit::Ms),
            _ => alone(TIME, &format!("per release, {case}"), Unit::Ns),
        };
        rows.push(match most {
            Some(most) => alone.wanted(Wanted::AtMost(most)),
            None => alone,
        });
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
    let own = bench.python()?;
    let pythons = discover()?.interpreters;
    let round = || {
        let mut round = beside(bench, own, &["alone", "py-spy", "viztracer"])?;
        match with_profiling(&pythons).and_then(|newest| beside(bench, newest, &[PROFILING])) {
            Ok(newer) => {
                round.figures.extend(newer.figures);
                round.missing.extend(newer.missing);
            }
            Err(Trouble::Failed(why)) => {
                let names = PROGRAMS.iter().map(|(name, ..)| *name).chain(["start"]);
                round.missing.extend(names.map(|name| (format!("{name} {PROFILING}"), why.clone())));
            }
            Err(Trouble::Interrupted) => return Err(Trouble::Interrupted),
        }
        Ok(round)
    };
    Ok(vec![quiet::rounds(bench.plan(9), round)?])
}

/// Measures one round of busy beside these peers, in `python`.
fn beside(bench: &Bench, python: &Interpreter, peers: &[&str]) -> Result<Round, Trouble> {
    let script = text(&source("python/record_cost.py"));
    let (python, busy, folder) = (text(&python.command), text(&bench.busy), text(&bench.folder));
    let size = if bench.quick { "quick" } else { "full" };
    let mut command = vec![python, "-I".into(), script, busy, folder, size.into()];
    command.extend(peers.iter().map(|peer| (*peer).to_owned()));
    child::round(bench.measured, &command)
}
