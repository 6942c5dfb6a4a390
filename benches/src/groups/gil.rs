//! The accuracy and the cost of the exact GIL meter, the GIL sampler and their peers, measured on a process that holds
//! the GIL for known times.

use super::bench::{Bench, PROFILING, with_profiling};
use super::gil_truth::Truth;
use crate::child::{self, Trouble, source, text};
use crate::quiet::{self, Plan, Rounds};
use crate::row::{Figure, Round, Row, Unit, Wanted};
use busy_gil::remote::{Rates, Recorder, RemoteGil};
use busy_lab::interpreter::discover;
use busy_lab::results::Interpreter;
use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Duration;

/// The hidden subcommand that samples the GIL of a process. Its arguments are `PID SECONDS`.
pub const SAMPLE: &str = "__sample-gil";

/// Old and new versions have different targets. A row shows the worst result of its versions.
const OLD: &str = "CPython 2.7, 3.7 and 3.8";
const NEW: &str = "CPython 3.9 and later";

const EXACT: &str = "error of the exact meter's held share, points";

pub fn rows() -> Vec<Row> {
    let without_peer = |row: &str, what: &str, case: &str, unit: Unit| {
        Row::ratio(row, what, "", case, unit).without_peer().with_figure(Figure::Value)
    };
    let mut rows = Vec::new();
    for (name, pythons) in [("new", NEW), ("old", OLD)] {
        let row = |row: &str, case: String, unit| without_peer(&format!("{name}-{row}"), EXACT, &case, unit);
        rows.push(row("mean", format!("{pythons}: mean"), Unit::Points).wanted(Wanted::AtMost(0.03)));
        rows.push(row("max", format!("{pythons}: maximum"), Unit::Points).wanted(Wanted::AtMost(0.1)));
        rows.push(row("hold", format!("{pythons}: longest hold"), Unit::Us).wanted(Wanted::AtMost(100.0)));
        rows.push(row("event", format!("{pythons}: error per release or acquire"), Unit::Ns));
        rows.push(row("uncertainty", format!("{pythons}: uncertainty of the truth, as much"), Unit::Ns));
        for figure in ["held", "waited"] {
            let case = format!("{pythons}: {figure} share of each of four threads, maximum");
            rows.push(row(figure, case, Unit::Points).wanted(Wanted::AtMost(0.2)));
        }
    }
    for (name, peer) in [
        ("gilknocker", "gilknocker"),
        ("gil_load", "gil_load, 5 kHz"),
        ("py-spy", "py-spy record --gil, 1 kHz"),
        (PROFILING, "Python 3.15's profiling.sampling --gecko, 10 kHz"),
    ] {
        let row = |row: &str, case: &str| Row::ratio(format!("{name}-{row}"), EXACT, peer, case, Unit::Points);
        rows.extend([
            row("mean", "mean").wanted(Wanted::AtMost(0.2)),
            row("max", "maximum").wanted(Wanted::AtMost(0.2)),
        ]);
    }
    let sampler = "error of the sampler's held share, 5 kHz, points";
    rows.extend([
        without_peer("sampler-mean", sampler, "mean", Unit::Points).wanted(Wanted::AtMost(0.5)),
        without_peer("sampler-max", sampler, "maximum", Unit::Points).wanted(Wanted::AtMost(1.5)),
        without_peer("sampler-cost", sampler, "cost, percent of a core", Unit::Percent).wanted(Wanted::AtMost(12.0)),
        without_peer("pair", "cost of the exact meter", "per release and reacquire", Unit::Ns)
            .wanted(Wanted::AtMost(10.0)),
        Row::ratio("pair-ratio", "a metered program", "the same unmetered", "a release and reacquire", Unit::Ns),
        Row::ratio("loop", "a metered program", "the same unmetered", "a step of a Python loop", Unit::Ns)
            .wanted(Wanted::AtMost(1.01)),
    ]);
    rows
}

pub fn measure(bench: &Bench) -> Result<Vec<Rounds>, Trouble> {
    let pythons = metered(bench)?;
    let once = Plan { rounds: 1, patience: bench.patience() };
    let truth = Truth::new(bench)?;
    let versions = quiet::rounds(bench.plan(3), || versions(&truth, &pythons))?;
    let peers = quiet::rounds(once, || peers(&truth, &pythons))?;
    let blocks = bench.size(500, 10).to_string();
    let script = text(&source("python/gil_cost.py"));
    let command = [text(&bench.python()?.command), "-B".into(), script, text(&bench.libbusy), blocks];
    let costs = quiet::rounds(bench.plan(9), || child::round(bench.measured, &command))?;
    Ok(vec![versions, peers, costs])
}

/// Returns the discovered CPythons whose GIL the exact meter supports; for a quick run, the first and the last of them.
fn metered(bench: &Bench) -> Result<Vec<Interpreter>, Trouble> {
    let mut pythons = discover()?.interpreters;
    let is_supported = |version: (u32, u32)| version == (2, 7) || version >= (3, 7);
    pythons.retain(|python| python.implementation == "cpython" && python.gil && is_supported(python.version_info));
    if bench.quick && pythons.len() > 2 {
        pythons.drain(1..pythons.len() - 1);
    }
    Ok(pythons)
}

/// Measures the exact meter in all versions, and reports the worst result of the old versions and of the new ones.
fn versions(truth: &Truth, pythons: &[Interpreter]) -> Result<Round, Trouble> {
    let mut round = Round::default();
    for python in pythons {
        let group = if python.version_info >= (3, 9) { "new" } else { "old" };
        let errors = truth.errors("busy", python, truth.bench.size(200, 20) as f64 / 1e3, &[])?;
        let [held, waited] = truth.contention(python)?;
        let figures = [
            ("mean", errors.mean()),
            ("max", errors.max()),
            ("hold", errors.longest_hold()),
            ("event", errors.event()),
            ("uncertainty", errors.uncertainty()),
            ("held", held),
            ("waited", waited),
        ];
        for (figure, value) in figures {
            let worst = round.figures.entry(format!("{group}-{figure}")).or_insert_with(|| vec![0.0]);
            worst[0] = worst[0].max(value);
        }
    }
    for group in ["new", "old"] {
        round.missing.insert(group.into(), "no such CPython found; `make interpreters` installs some".into());
    }
    Ok(round)
}

/// Measures the exact meter beside each peer, and the sampler.
fn peers(truth: &Truth, pythons: &[Interpreter]) -> Result<Round, Trouble> {
    let (bench, mut round) = (truth.bench, Round::default());
    let seconds = bench.size(1000, 100) as f64 / 1e3;
    let own = bench.python()?;
    let exact = truth.errors("busy", own, seconds, &[])?;
    let py_spy = text(&own.command.with_file_name("py-spy"));
    for (peer, command) in [("gilknocker", &[][..]), ("gil_load", &[]), ("py-spy", &[py_spy])] {
        round.insert(peer, truth.errors(peer, own, seconds, command).map(|theirs| exact.beside(&theirs)))?;
    }
    let newest = with_profiling(pythons).and_then(|newest| {
        let exact = truth.errors("busy", newest, seconds, &[])?;
        let theirs = truth.errors(PROFILING, newest, seconds, &[text(&newest.command)])?;
        Ok(exact.beside(&theirs))
    });
    round.insert(PROFILING, newest)?;
    let command = [text(&std::env::current_exe()?), SAMPLE.into()];
    let sampler = truth.errors("sampler", own, seconds, &command).map(|errors| {
        let cost = errors.costs.iter().sum::<f64>() / errors.costs.len() as f64;
        vec![("mean", vec![errors.mean()]), ("max", vec![errors.max()]), ("cost", vec![cost])]
    });
    round.insert("sampler", sampler)?;
    Ok(round)
}

impl Round {
    /// Inserts the figures of `name`, or the reason why they are missing.
    fn insert(&mut self, name: &str, found: Result<Vec<(&str, Vec<f64>)>, Trouble>) -> Result<(), Trouble> {
        match found {
            Ok(figures) => {
                self.figures.extend(figures.into_iter().map(|(figure, values)| (format!("{name}-{figure}"), values)));
            }
            Err(Trouble::Failed(why)) => drop(self.missing.insert(name.into(), why)),
            Err(Trouble::Interrupted) => return Err(Trouble::Interrupted),
        }
        Ok(())
    }
}

/// Runs the subcommand [`SAMPLE`]: prints the held share of the GIL of process `PID` over `SECONDS`, and the cost of
/// the sampler.
pub fn sample(arguments: &[OsString]) -> ExitCode {
    let words: Vec<_> = arguments.iter().filter_map(|argument| argument.to_str()).collect();
    let [pid, seconds] = words[..] else { return ExitCode::from(2) };
    let (Ok(pid), Ok(seconds)) = (pid.parse(), seconds.parse()) else { return ExitCode::from(2) };
    let recorder = RemoteGil::attach(pid).and_then(|gil| Recorder::start(gil, Rates::default()));
    let window = recorder.map(|recorder| {
        std::thread::sleep(Duration::from_secs_f64(seconds));
        recorder.stop()
    });
    match window {
        Ok(window) => {
            let cost = 100.0 * window.cost.as_nanos() as f64 / window.wall_ns() as f64;
            println!("{}", serde_json::json!({"share": window.held_share(), "cost": cost}));
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
