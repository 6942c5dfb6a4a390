//! The accuracy and the cost of the exact GIL meter, the GIL sampler and their peers, measured on a process that holds
//! the GIL for known times.

use super::bench::Bench;
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
const PROFILING: &str = "profiling.sampling";
/// The version that contains profiling.sampling (Tachyon), and the only one that it can profile.
const TACHYON: (u32, u32) = (3, 15);

const EXACT: &str = "error of the exact meter's held share, points";

pub fn rows() -> Vec<Row> {
    let without_peer = |row: &str, what: &str, case: &str, unit: Unit| {
        Row::ratio(row, what, "", case, unit).without_peer().with_figure(Figure::Value)
    };
    let mut rows = Vec::new();
    for (name, pythons, [mean, max]) in [("new", NEW, [0.05, 0.2]), ("old", OLD, [0.2, 0.5])] {
        let row = |row: &str, case: String, unit| without_peer(&format!("{name}-{row}"), EXACT, &case, unit);
        rows.push(row("mean", format!("{pythons}: mean"), Unit::Points).wanted(Wanted::AtMost(mean)));
        rows.push(row("max", format!("{pythons}: maximum"), Unit::Points).wanted(Wanted::AtMost(max)));
        rows.push(row("hold", format!("{pythons}: longest hold"), Unit::Us).wanted(Wanted::AtMost(100.0)));
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
    let pythons = metered()?;
    let once = Plan { rounds: 1, patience: bench.patience() };
    let versions = quiet::rounds(bench.plan(3), || versions(bench, &pythons))?;
    let peers = quiet::rounds(once, || peers(bench, &pythons))?;
    let calls = bench.size(100_000, 1_000).to_string();
    let script = text(&source("python/gil_cost.py"));
    let command = [text(&bench.python()?.command), "-B".into(), script, text(&bench.libbusy), calls];
    let costs = quiet::rounds(bench.plan(9), || child::round(bench.measured, &command))?;
    Ok(vec![versions, peers, costs])
}

/// Returns the discovered CPythons whose GIL the exact meter supports.
fn metered() -> Result<Vec<Interpreter>, Trouble> {
    let mut pythons = discover()?.interpreters;
    let is_supported = |version: (u32, u32)| version == (2, 7) || version >= (3, 7);
    pythons.retain(|python| python.implementation == "cpython" && python.gil && is_supported(python.version_info));
    Ok(pythons)
}

/// Measures the exact meter in all versions, and reports the worst result of the old versions and of the new ones.
fn versions(bench: &Bench, pythons: &[Interpreter]) -> Result<Round, Trouble> {
    let mut round = Round::default();
    for python in pythons {
        let group = if python.version_info >= (3, 9) { "new" } else { "old" };
        let errors = Errors::of("busy", bench, python, bench.size(200, 20) as f64 / 1e3, &[])?;
        let longest_hold = errors.holds.iter().copied().fold(0.0, f64::max);
        for (figure, value) in [("mean", errors.mean()), ("max", errors.max()), ("hold", longest_hold)] {
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
fn peers(bench: &Bench, pythons: &[Interpreter]) -> Result<Round, Trouble> {
    let mut round = Round::default();
    let seconds = bench.size(1000, 100) as f64 / 1e3;
    let own = bench.python()?;
    let exact = Errors::of("busy", bench, own, seconds, &[])?;
    let py_spy = text(&own.command.with_file_name("py-spy"));
    for (peer, command) in [("gilknocker", &[][..]), ("gil_load", &[]), ("py-spy", &[py_spy])] {
        round.insert(peer, Errors::of(peer, bench, own, seconds, command).map(|theirs| exact.beside(&theirs)))?;
    }
    let newest = match pythons.iter().find(|python| python.version_info == TACHYON) {
        Some(newest) => {
            let exact = Errors::of("busy", bench, newest, seconds, &[])?;
            let theirs = Errors::of(PROFILING, bench, newest, seconds, &[text(&newest.command)]);
            theirs.map(|theirs| exact.beside(&theirs))
        }
        None => Err(Trouble::Failed("no Python 3.15 found; `make interpreters` installs it".into())),
    };
    round.insert(PROFILING, newest)?;
    let command = [text(&std::env::current_exe()?), SAMPLE.into()];
    let sampler = Errors::of("sampler", bench, own, seconds, &command).map(|errors| {
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

/// The errors of a meter, for each duty of each period.
#[derive(Default)]
struct Errors {
    /// Errors of the held share, in points.
    shares: Vec<f64>,
    /// Errors of the longest hold, in microseconds.
    holds: Vec<f64>,
    /// CPU utilization of the meter in percent of a core, if it runs in a separate process.
    costs: Vec<f64>,
}

impl Errors {
    fn of(meter: &str, bench: &Bench, python: &Interpreter, seconds: f64, command: &[String]) -> Result<Self, Trouble> {
        let mut errors = Self::default();
        let script = text(&source("python/gil_truth.py"));
        let periods_us: &[u32] = if bench.quick { &[10_000] } else { &[100, 1000, 10_000, 100_000] };
        for period_us in periods_us {
            let mut arguments = vec![text(&python.command), "-B".into(), script.clone(), meter.into()];
            arguments.extend([text(&bench.libbusy), period_us.to_string(), seconds.to_string()]);
            if !command.is_empty() {
                arguments.push(bench.observer.to_string());
                arguments.extend_from_slice(command);
            }
            let mut figures = child::round(bench.measured, &arguments)?.figures;
            let mut take = |figure: &str| figures.remove(figure).unwrap_or_default();
            errors.shares.extend(take("share"));
            errors.holds.extend(take("hold"));
            errors.costs.extend(take("cost"));
        }
        Ok(errors)
    }

    fn mean(&self) -> f64 {
        self.shares.iter().sum::<f64>() / self.shares.len() as f64
    }

    fn max(&self) -> f64 {
        self.shares.iter().copied().fold(0.0, f64::max)
    }

    fn beside(&self, theirs: &Self) -> Vec<(&'static str, Vec<f64>)> {
        vec![("mean", vec![self.mean(), theirs.mean()]), ("max", vec![self.max(), theirs.max()])]
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
