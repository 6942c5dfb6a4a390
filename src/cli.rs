//! The command line, as data.

use crate::results::Verdict;
use busy_core::load;
use clap::{Args, Parser, Subcommand};
use std::ffi::OsString;
use std::num::NonZero;
use std::path::PathBuf;
use std::time::Duration;

/// See what the threads of a Python program do with the GIL, measured.
#[derive(Debug, Parser)]
#[command(name = "busy", version, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What the command can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show the experiments, with the talk's slide and what each shows
    List(ListArguments),
    /// Run experiments, show the talk's figures beside today's, keep the JSON
    ///
    /// Exit code: 0 as expected, 1 not as expected or failed, 2 wrong usage, 3 inconclusive.
    Run(RunArguments),
    /// Tell whether a statement releases the GIL, and for how long others can't run Python beside it
    ///
    /// Statements and setup are as `python -m timeit` takes them. The statement runs some times, in an interpreter of its
    /// own, once others use less than a tenth of a core, for which it waits up to 5 s. Exit code: 0 as expected, 1 not as expected or
    /// failed, 2 wrong usage, 3 inconclusive or all skipped.
    Check(CheckArguments),
    /// Show the interpreters found: on PATH, pyenv's, uv's, `make interpreters`' and the system's
    Pythons(PythonsArguments),
    /// Put a given load on some cores, and report what was achieved
    ///
    /// Each thread spins until its own CPU clock says that its share of the period is used, then sleeps. Ctrl-C ends it.
    Load(LoadArguments),
}

/// What to list.
#[derive(Debug, Args)]
pub struct ListArguments {
    /// Write the list as JSON to FILE, or to stdout (-)
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

/// What to run.
#[derive(Debug, Args)]
pub struct RunArguments {
    /// The experiments; all if none is named
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,

    /// An interpreter: a version (3.13, 3.13t, 2.7, pypy3), a path, or `all`; may be given several times
    ///
    /// Without it: the machine's own, python3. `busy pythons` shows which there are.
    #[arg(short, long, value_name = "PY")]
    pub python: Vec<OsString>,

    /// How long each row runs
    #[arg(short = 'd', long = "duration", value_name = "SECONDS", default_value_t = 3,
          value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub seconds: u32,

    /// How often a second the threads and cores are looked at: 1 to 1000
    ///
    /// That is the timeline's rate in the JSON, and costs time of its own, which is told there.
    #[arg(long, value_name = "N", default_value = "10", value_parser = hz)]
    pub hz: NonZero<u32>,

    /// Take over what an earlier run has measured already: the last one, or that kept in FILE
    ///
    /// What failed, was skipped or interrupted, and what it was not asked for is measured now.
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true)]
    pub resume: Option<Option<PathBuf>>,

    /// Write the results as JSON to FILE, or to stdout (-) instead of the table
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

/// What to check.
#[derive(Debug, Args)]
pub struct CheckArguments {
    /// The statement; several are run one after the other, as lines
    #[arg(value_name = "STMT", required = true)]
    pub statement: Vec<String>,

    /// What is run once before; may be given several times, as lines
    #[arg(short, long, value_name = "SETUP")]
    pub setup: Vec<String>,

    /// An interpreter: a version (3.13, 3.13t, 2.7, pypy3), a path, or `all`; may be given several times
    ///
    /// Without it: the machine's own, python3. `busy pythons` shows which there are.
    #[arg(short, long, value_name = "PY")]
    pub python: Vec<OsString>,

    /// The verdict that each interpreter must come to
    #[arg(long, value_name = "VERDICT")]
    pub expect: Option<Verdict>,

    /// The longest time that one call may keep others from running Python: 20ms
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub max_stall: Option<Duration>,

    /// How long each interpreter may take before it is ended
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = time)]
    pub timeout: Duration,

    /// Write the results as JSON to FILE, or to stdout (-) instead of the table
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

/// How to show the interpreters.
#[derive(Debug, Args)]
pub struct PythonsArguments {
    /// Write the list as JSON to FILE, or to stdout (-)
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

/// What load to make.
#[derive(Debug, Args)]
pub struct LoadArguments {
    /// How many threads
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=load::MOST_THREADS as i64))]
    pub cpu: u16,

    /// What each thread uses of a core: 40%, or 0.4
    #[arg(long, value_name = "SHARE", default_value = "100%", value_parser = share)]
    pub load: f64,

    /// How long one round of spinning and sleeping takes: 10ms, 1s
    #[arg(long, value_name = "TIME", default_value = "10ms", value_parser = time)]
    pub period: Duration,

    /// How long all goes on: 30s, 5min; until Ctrl-C if not given
    #[arg(long = "for", value_name = "TIME", value_parser = time)]
    pub duration: Option<Duration>,

    /// Write what was achieved as JSON to FILE, or to stdout (-) instead of the text
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

fn hz(text: &str) -> Result<NonZero<u32>, String> {
    let hz = text.parse().ok().filter(|hz: &NonZero<u32>| hz.get() <= 1000);
    hz.ok_or_else(|| "expected a whole number from 1 to 1000".into())
}

fn share(text: &str) -> Result<f64, String> {
    let share = match text.strip_suffix('%') {
        Some(percent) => percent.trim_end().parse().map(|percent: f64| percent / 100.0),
        None => text.parse(),
    };
    let fits = share.ok().filter(|share| (0.0..=1.0).contains(share));
    fits.ok_or_else(|| "expected a share of a core from 0% to 100%, such as 40% or 0.4".into())
}

fn time(text: &str) -> Result<Duration, String> {
    let time = humantime::parse_duration(text).ok().filter(|time| !time.is_zero());
    time.ok_or_else(|| "expected a time longer than zero with its unit, such as 500us, 10ms, 30s".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn rates_are_whole_numbers_from_one_to_a_thousand() {
        assert_eq!((hz("1").unwrap().get(), hz("1000").unwrap().get()), (1, 1000));
        for wrong in ["", "0", "-1", "1001", "10.5", "nan", "10 Hz", "99999999999"] {
            assert!(hz(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn shares_and_times_are_read_with_their_units() {
        assert_eq!((share("40%"), share("12.5 %"), share("0.4"), share("1")), (Ok(0.4), Ok(0.125), Ok(0.4), Ok(1.0)));
        for wrong in ["", "%", "101%", "-1%", "nan", "1.01", "4O%", "inf"] {
            assert!(share(wrong).is_err(), "{wrong}");
        }
        assert_eq!(time("10ms"), Ok(Duration::from_millis(10)));
        for wrong in ["", "10", "0s", "-1s", "1 parsec", "99999999999999999999s"] {
            assert!(time(wrong).is_err(), "{wrong}");
        }
    }
}
