//! The command line.

use crate::results::Verdict;
use crate::units::{duration, parse_time};
use busy_core::load;
use clap::builder::{PathBufValueParser, PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{Arg, ArgGroup, Args, Parser, Subcommand};
use std::ffi::{OsStr, OsString};
use std::num::NonZero;
use std::path::PathBuf;
use std::time::Duration;

/// Check whether a Python call releases the GIL, and reproduce a talk's experiments on the GIL
#[derive(Debug, Parser)]
#[command(name = "busy", version, max_term_width = 100)]
pub struct Cli {
    /// The subcommand.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List the experiments, each with the talk's slides and claim
    List(ListArguments),
    /// Run experiments and show the talk's figures beside today's
    ///
    /// The results are also kept as JSON in the user's state folder (~/.local/state/busy/runs).
    ///
    /// Exit code: 0 as expected, 1 not as expected or failed, 2 wrong usage, 3 inconclusive or all rows skipped (docs/results.md).
    Run(RunArguments),
    /// Check whether a statement releases the GIL, and how long it stalls other threads
    ///
    /// Statement and setup are given as to `python -m timeit`. The statement is called 3 to 12 times; if a call takes less than
    /// 20 ms, more often, up to tens of thousands of times. It runs in an interpreter of its own, with an empty stdin.
    /// Before that, the command waits up to 5 s until other processes use less than a tenth of a core.
    ///
    /// Exit code: 0 as expected, 1 not as expected or failed, 2 wrong usage, 3 inconclusive or all rows skipped (docs/results.md).
    Check(CheckArguments),
    /// Run a program and record which threads of its Pythons hold the GIL, and which ones wait for it
    ///
    /// The program may be an interpreter with a script, a console script, or any command that starts a Python: all its processes
    /// are recorded. Its streams, terminal and signals are its own. Ctrl-C goes to the program. When the program ends, so does
    /// the recording.
    /// With --pid, a running process is sampled instead.
    ///
    /// Exit code: the program's, or 128 and the number of the signal that ended it; 127 if it was not found, 126 if it can't be
    /// executed, 2 for wrong usage. With --pid: 0, or 2 if the process can't be sampled.
    Record(RecordArguments),
    /// Show live which threads hold the GIL, which ones wait for it, and which call made them wait
    ///
    /// With a program (CMD), the exact meter measures all its Python processes. With --pid, a running process is sampled, which
    /// needs the right to ptrace(2) it. If stdout is no terminal, lines of text are printed once a second.
    ///
    /// On the screen, the program has no terminal: its stdin is empty, and its output is printed once the screen ends (-o writes
    /// it to a file). q asks for confirmation, then ends the program by SIGTERM; Ctrl-C interrupts it; ? shows all keys.
    ///
    /// Exit code: that of the program, as `busy record` has it; with --pid, 0 once the user leaves; 2 if nothing can be shown.
    Top(TopArguments),
    /// Show recordings, checks and runs again: as their summary, or as one page that opens in any browser
    ///
    /// The page (-o) is one file that loads nothing from anywhere. A recording has its threads over time, its worst stalls with
    /// their stacks, and the calls that cost other threads most.
    Report(ReportArguments),
    /// List the interpreters of this machine: on PATH, from pyenv, uv and `make interpreters`, and the system's
    Pythons(PythonsArguments),
    /// Put a load of a given size on some cores, and report the load that was achieved
    ///
    /// In each period, every thread spins until its CPU clock shows the requested share, then sleeps. Ctrl-C ends the load.
    ///
    /// Exit code: 0, or 1 if the achieved load (the average of the threads) differs from the requested one by more than a
    /// percent of a core; the output gives the reason.
    Load(LoadArguments),
}

/// The arguments of `busy list`.
#[derive(Debug, Args)]
pub struct ListArguments {
    /// Write the list as JSON to FILE, or to stdout (-)
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

/// The arguments of `busy run`.
#[derive(Debug, Args)]
pub struct RunArguments {
    /// The experiments to run; all if none is named
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,

    /// An interpreter: a version (3.13, 3.13t, 2.7, pypy3), a path, the folder of a virtual environment, or `all`; may be repeated
    ///
    /// The default is the active virtual environment (VIRTUAL_ENV), or else python3 on PATH. If one of several names stands for no
    /// interpreter, it is reported and skipped. `busy pythons` lists the interpreters of this machine.
    #[arg(short, long, value_name = "PY")]
    pub python: Vec<OsString>,

    /// The duration of each row, in whole seconds up to an hour: 10, 10s, 2min
    #[arg(short = 'd', long = "duration", value_name = "TIME", default_value = "3s", value_parser = whole_seconds)]
    pub seconds: u32,

    /// How often per second the threads are sampled: 1 to 1000 (cores at most 20 times)
    ///
    /// It is the rate of the timeline in the JSON, which also reports the CPU time that the sampling itself used. A row has at
    /// most 250,000 samples: its duration times the rate.
    #[arg(long, value_name = "N", default_value = "10", value_parser = hz)]
    pub hz: NonZero<u32>,

    /// The longest wait for a quiet machine before the first row; 0: none
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = patience)]
    pub patience: Duration,

    /// Resume the latest run, or the one kept in FILE: take over its results and measure the rest
    ///
    /// Results that failed, were skipped, were interrupted or are inconclusive are measured again.
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true, conflicts_with = "scheduler")]
    pub resume: Option<Option<PathBuf>>,

    /// The hosts.
    #[command(flatten)]
    pub hosts: HostsArguments,

    /// Write the results as JSON to FILE as well, or to stdout (-) instead of the table
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

/// The arguments of a measurement on several hosts.
#[derive(Debug, Args)]
pub struct HostsArguments {
    /// Measure on one worker of each host of a dask cluster; ADDRESS is that of its scheduler, such as tcp://10.0.0.2:8786
    ///
    /// If all workers are on one host, each of them measures. busy-gil must be installed for the workers; here, a Python with
    /// distributed is needed. Interpreters (-p) are those of the workers' hosts; the default is the worker's own (docs/production.md).
    #[arg(long = "dask", value_name = "ADDRESS")]
    pub scheduler: Option<String>,

    /// The time-out on each host: for the check, or for each experiment
    #[arg(long, value_name = "TIME", default_value = "10min", value_parser = time, requires = "scheduler")]
    pub host_timeout: Duration,
}

/// The arguments of `busy check`.
#[derive(Debug, Args)]
pub struct CheckArguments {
    /// The statement; several are joined as lines
    #[arg(value_name = "STMT", required = true)]
    pub statement: Vec<String>,

    /// A statement that runs once, before STMT; several are joined as lines
    #[arg(short, long, value_name = "SETUP")]
    pub setup: Vec<String>,

    /// An interpreter: a version (3.13, 3.13t, 2.7, pypy3), a path, the folder of a virtual environment, or `all`; may be repeated
    ///
    /// The default is the active virtual environment (VIRTUAL_ENV), or else python3 on PATH. If one of several names stands for no
    /// interpreter, it is reported and skipped. `busy pythons` lists the interpreters of this machine.
    #[arg(short, long, value_name = "PY")]
    pub python: Vec<OsString>,

    /// The expected verdict; another one makes the exit code 1, an inconclusive one 3. If the option is repeated, the
    /// verdict must be one of those named
    #[arg(long, value_name = "VERDICT", value_parser = VerdictParser)]
    pub expect: Vec<Verdict>,

    /// The longest stall that one call may cause, such as 20ms; a longer one makes the exit code 1
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub max_stall: Option<Duration>,

    /// The longest wait for a quiet machine before the check; and how long a disturbed measurement is repeated before its
    /// verdict is inconclusive; 0: neither
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = patience)]
    pub patience: Duration,

    /// How often a check is repeated in a new interpreter if other processes made its verdict inconclusive
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(0..=100))]
    pub retries: u32,

    /// The time-out for each interpreter
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = time)]
    pub timeout: Duration,

    /// The hosts.
    #[command(flatten)]
    pub hosts: HostsArguments,

    /// Write the results as JSON to FILE as well, or to stdout (-) instead of the table
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

/// The arguments of `busy record`.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("subject").required(true).args(["command", "pid"])))]
pub struct RecordArguments {
    /// The recording (FILE.busy, docs/record.md), or its page (FILE.html); the default is busy-PID.busy, with the process id
    /// of this command
    #[arg(short, long, value_name = "FILE", value_parser = PathBufValueParser::new().try_map(recording_or_page))]
    pub output: Option<PathBuf>,

    /// Sample the running Python with this process id, until Ctrl-C or the end of --for
    ///
    /// Shares and states are estimates then. Longest holds and stalls, and a file of the events, can't be had: -o takes FILE.html
    /// only.
    #[arg(long, value_name = "PID", value_parser = process_id, conflicts_with_all = ["command", "stall", "rate", "perfetto", "firefox", "chrome"])]
    pub pid: Option<u32>,

    /// How long the process of --pid is sampled
    #[arg(long = "for", value_name = "TIME", requires = "pid", conflicts_with = "command", value_parser = time)]
    pub duration: Option<Duration>,

    /// Write the figures as JSON to FILE as well, or to stdout (-) after the program's own output
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,

    /// Write the recording to FILE as a Perfetto trace as well, for ui.perfetto.dev
    #[arg(long, value_name = "FILE")]
    pub perfetto: Option<PathBuf>,

    /// Write the recording to FILE as a profile for the Firefox Profiler as well, for profiler.firefox.com
    #[arg(long, value_name = "FILE")]
    pub firefox: Option<PathBuf>,

    /// Write the recording to FILE as trace events in JSON as well, for viztracer --combine
    #[arg(long, value_name = "FILE")]
    pub chrome: Option<PathBuf>,

    /// The length from which on a wait for the GIL is a stall, whose holder's Python stack is recorded
    #[arg(long, value_name = "TIME", default_value = "10ms", value_parser = time)]
    pub stall: Duration,

    /// How often per second the Python stack of the thread that holds the GIL is read, for the flame graph: up to 1000; 0 for
    /// never
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = rate)]
    pub rate: u32,

    /// Record the Python stacks of the threads that wait in a stall as well
    #[arg(long, conflicts_with = "pid")]
    pub waiters: bool,

    /// The program and its arguments; all that follows the program's name is an argument of it
    #[arg(value_name = "CMD", trailing_var_arg = true)]
    pub command: Vec<OsString>,
}

/// The arguments of `busy top`.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("subject").required(true).args(["command", "pid"])))]
pub struct TopArguments {
    /// The process id of a running Python
    #[arg(long, value_name = "PID", value_parser = process_id, conflicts_with_all = ["command", "output", "stall"])]
    pub pid: Option<u32>,

    /// The file that gets the program's stdout and stderr
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,

    /// The length from which on a wait for the GIL is a stall
    #[arg(long, value_name = "TIME", default_value = "20ms", value_parser = time)]
    pub stall: Duration,

    /// The program and its arguments; all that follows the program's name is an argument of it
    #[arg(value_name = "CMD", trailing_var_arg = true)]
    pub command: Vec<OsString>,
}

/// The arguments of `busy report`.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("drawn").multiple(true).args(["output", "svg"])))]
pub struct ReportArguments {
    /// Recordings (FILE.busy), and the JSON that `busy run`, `busy check` and `busy record` write with --json
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,

    /// Write the page to FILE instead of printing the summary
    #[arg(short, long, value_name = "FILE.html",
        value_parser = PathBufValueParser::new().try_map(page))]
    pub output: Option<PathBuf>,

    /// Write the picture of the first recording to FILE, as SVG, instead of printing the summary
    #[arg(long, value_name = "FILE.svg", value_parser = PathBufValueParser::new().try_map(picture))]
    pub svg: Option<PathBuf>,

    /// Write all figures as JSON to FILE, or to stdout instead of the summary (-)
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,

    /// Draw the recordings from this time on, since their start; a shorter part shows more details
    #[arg(long, value_name = "TIME", value_parser = time, requires = "drawn")]
    pub from: Option<Duration>,

    /// Draw the recordings up to this time
    #[arg(long, value_name = "TIME", value_parser = time, requires = "drawn")]
    pub to: Option<Duration>,
}

/// The arguments of `busy pythons`.
#[derive(Debug, Args)]
pub struct PythonsArguments {
    /// Write the list as JSON to FILE, or to stdout (-)
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

/// The arguments of `busy load`.
#[derive(Debug, Args)]
pub struct LoadArguments {
    /// The number of threads; they are not pinned to cores
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=load::MOST_THREADS as i64))]
    pub cpu: u16,

    /// The share of a core that each thread uses: 40%, or 0.4
    #[arg(long, value_name = "SHARE", default_value = "100%", value_parser = share)]
    pub load: f64,

    /// The length of one round of spinning and sleeping: 10ms, 0.1 (seconds)
    #[arg(long, value_name = "TIME", default_value = "10ms", value_parser = time)]
    pub period: Duration,

    /// The total duration: 30s, 5min; without it, until Ctrl-C
    #[arg(long = "for", value_name = "TIME", value_parser = time)]
    pub duration: Option<Duration>,

    /// Write the achieved load as JSON to FILE as well, or to stdout (-) instead of the text
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

/// Reads a [`Verdict`], with the meanings of all of them in the help.
#[derive(Debug, Clone)]
struct VerdictParser;

impl TypedValueParser for VerdictParser {
    type Value = Verdict;

    fn parse_ref(&self, command: &clap::Command, arg: Option<&Arg>, value: &OsStr) -> Result<Verdict, clap::Error> {
        let names = PossibleValuesParser::new(self.possible_values().into_iter().flatten());
        let name = names.parse_ref(command, arg, value)?;
        let found = Verdict::ALL.iter().find(|(verdict, _)| verdict.to_string() == name);
        Ok(found.expect("clap accepts these names only").0)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue>>> {
        let value =
            |(verdict, meaning): &(Verdict, &'static str)| PossibleValue::new(verdict.to_string()).help(*meaning);
        Some(Box::new(Verdict::ALL.iter().map(value).collect::<Vec<_>>().into_iter()))
    }
}

/// Accepts the name of a file with one of these endings, or without one, such as that of a pipe or a device.
fn with_ending(path: PathBuf, endings: &[&str], expected: &str) -> Result<PathBuf, String> {
    let is_expected = |found: &OsStr| endings.iter().any(|ending| found.eq_ignore_ascii_case(ending));
    if path.extension().is_none_or(is_expected) {
        Ok(path)
    } else {
        Err(format!("expected a name that ends in {expected}"))
    }
}

fn recording_or_page(path: PathBuf) -> Result<PathBuf, String> {
    let expected = ".busy (the recording) or .html (the page); other files have options of their own: \
        --json, --perfetto, --firefox, --chrome";
    with_ending(path, &["busy", "html"], expected)
}

fn page(path: PathBuf) -> Result<PathBuf, String> {
    with_ending(path, &["html"], ".html (the page); the picture has an option of its own: --svg")
}

fn picture(path: PathBuf) -> Result<PathBuf, String> {
    with_ending(path, &["svg"], ".svg")
}

fn rate(text: &str) -> Result<u32, String> {
    let rate = text.parse().ok().filter(|rate| *rate <= 1000);
    rate.ok_or_else(|| "expected a whole number from 0 to 1000".into())
}

fn process_id(text: &str) -> Result<u32, String> {
    text.parse().map_err(|_| "expected a process id, a whole number".into())
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
    let time = parse_time(text).filter(|time| !time.is_zero());
    time.ok_or_else(|| {
        "expected a time longer than zero, in seconds or with a unit (ns, us, ms, s, min, h), such as 10ms, 1.5s, 30"
            .into()
    })
}

fn patience(text: &str) -> Result<Duration, String> {
    let expected = "expected a time, in seconds or with a unit (ns, us, ms, s, min, h), such as 500ms, 10s, 0";
    parse_time(text).ok_or_else(|| expected.into())
}

fn whole_seconds(text: &str) -> Result<u32, String> {
    let time = time(text)?;
    let is_whole = time.subsec_nanos() == 0 && (1..=3600).contains(&time.as_secs());
    let found = || format!("expected whole seconds from 1s to 1h, found {}", duration(time.as_secs_f64()));
    if is_whole { Ok(time.as_secs() as u32) } else { Err(found()) }
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
    fn a_program_needs_no_dashes_before_it_and_keeps_its_own_options() {
        for subcommand in ["record", "top"] {
            for dashes in [&[][..], &["--"]] {
                let words = [&["busy", subcommand, "--stall", "5ms"], dashes, &["app", "--stall", "-x", "--", "y"]];
                let command = match Cli::try_parse_from(words.concat()).unwrap().command {
                    Command::Record(arguments) => arguments.command,
                    Command::Top(arguments) => arguments.command,
                    other => panic!("{other:?}"),
                };
                assert_eq!(command, ["app", "--stall", "-x", "--", "y"]);
            }
            for wrong in [&["--stal", "app"][..], &[], &["--"], &["--pid", "1", "app"]] {
                assert!(Cli::try_parse_from([&["busy", subcommand], wrong].concat()).is_err(), "{wrong:?}");
            }
        }
    }

    #[test]
    fn a_recording_has_the_ending_of_one_of_its_two_forms_or_none() {
        let is_allowed = |path: &str| recording_or_page(path.into()).is_ok();
        assert!(["a.busy", "b/a.HTML", "/dev/null", "a", ".hidden"].into_iter().all(is_allowed));
        assert!(!["a.json", "a.htm", "a.busy.gz", "v1.2"].into_iter().any(is_allowed));
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
        assert_eq!((time("10ms"), time("10")), (Ok(Duration::from_millis(10)), Ok(Duration::from_secs(10))));
        for wrong in ["", "0", "0s", "0.1ns", "-1s", "1 parsec", "99999999999999999999s"] {
            assert!(time(wrong).is_err(), "{wrong}");
        }
        assert_eq!(["0", "0s", "5s"].map(patience), [0, 0, 5].map(|s| Ok(Duration::from_secs(s))));
        assert!(["", "-1", "soon"].into_iter().all(|wrong| patience(wrong).is_err()));
        assert_eq!(["1", "3s", "2min", "1h", "5000ms"].map(whole_seconds), [1, 3, 120, 3600, 5].map(Ok));
        for wrong in ["", "0", "0.5", "1.5s", "999ms", "61min", "-1"] {
            assert!(whole_seconds(wrong).is_err(), "{wrong}");
        }
    }
}
