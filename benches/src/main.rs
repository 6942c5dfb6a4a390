//! Compares busy with its peers. Prints one table of the ratios within one run, and saves them as JSON. docs/bench.md
//! describes what each row measures. No other crate depends on this one; it measures and uses the core, libbusy, the
//! Python module and the lab.

mod child;
mod document;
mod groups;
mod quiet;
mod row;
mod spread;
mod table;
mod task_clock;

use busy_lab::command::{Output, note, print};
use busy_lab::interpreter::identify;
use busy_lab::measure::host;
use busy_lab::process::{interrupt, reentered};
use busy_lab::provision::installation;
use busy_lab::results::{Host, Interpreter, NewFile};
use child::Trouble;
use clap::Parser;
use document::Document;
use groups::{Bench, Group};
use indicatif::ProgressBar;
use std::error::Error;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Compares busy with its peers and saves the figures as JSON.
#[derive(Debug, Parser)]
struct Arguments {
    /// Groups of rows to measure: waits, cancel, load, calls, import, sampler, gil, record [default: all]
    #[arg(value_name = "GROUP")]
    groups: Vec<String>,

    /// Python interpreter of an environment with busy, cffi and psutil
    #[arg(long, value_name = "PATH", default_value = "python3")]
    python: String,

    /// Folder for compiled programs and results
    #[arg(long, value_name = "FOLDER", default_value = "build/bench")]
    folder: PathBuf,

    /// Show whether each figure lies within the range of the rounds of this earlier run
    #[arg(long, value_name = "FILE")]
    against: Option<PathBuf>,

    /// Show a saved run instead of measuring
    #[arg(long, value_name = "FILE")]
    show: Option<PathBuf>,

    /// Run few, short rounds to try out the bench; their figures are meaningless
    #[arg(long)]
    quick: bool,
}

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    if let Some(code) = reentered(&arguments) {
        return code;
    }
    if arguments.get(1).is_some_and(|argument| argument == child::ON_CORE) {
        return child::exec_on_core(&arguments[2..]);
    }
    if arguments.get(1).is_some_and(|argument| argument == groups::gil::SAMPLE) {
        return groups::gil::sample(&arguments[2..]);
    }
    match run(&Arguments::parse()) {
        Ok(code) => code,
        Err(error) => {
            note(&format!("busy-bench: {error}"));
            ExitCode::from(2)
        }
    }
}

fn run(arguments: &Arguments) -> Result<ExitCode, Box<dyn Error>> {
    let before = arguments.against.as_deref().map(Document::read).transpose()?;
    if let Some(path) = &arguments.show {
        show(&Document::read(path)?, before.as_ref())?;
        return Ok(ExitCode::SUCCESS);
    }
    let chosen = chosen(&arguments.groups)?;
    interrupt::catch()?;
    std::fs::create_dir_all(&arguments.folder)?;
    let bench = bench(arguments)?;
    // The host must be observed before this process is pinned to one core.
    let host = host::observe(bench.patience())?;
    child::pin(bench.observer)?;
    let document = match measure(&bench, host, &chosen) {
        Ok(document) => document,
        Err(Trouble::Interrupted) => return Ok(ExitCode::from(interrupt::exit_code().unwrap_or_default())),
        Err(Trouble::Failed(why)) => return Err(why.into()),
    };
    // Colons in file names are inconvenient on the command line.
    let name = format!("{}.json", document.started_at.replace(':', "-"));
    let saved = NewFile::open(&arguments.folder.join(name))?.replace(&serde_json::to_vec_pretty(&document)?)?;
    show(&document, before.as_ref())?;
    print(&format!("Saved as {}\n", saved.display()))?;
    Ok(ExitCode::SUCCESS)
}

fn show(document: &Document, before: Option<&Document>) -> Result<(), Box<dyn Error>> {
    Output::Text.write(document, || table::render(document, before))?;
    table::warnings(document).iter().for_each(|warning| note(warning));
    Ok(())
}

fn chosen(names: &[String]) -> Result<Vec<Group>, String> {
    let known = || groups::ALL.map(|group| group.name).join(", ");
    let find = |name: &String| {
        let found = groups::ALL.into_iter().find(|group| group.name == name);
        found.ok_or_else(|| format!("unknown group {name:?}; the groups are {}", known()))
    };
    if names.is_empty() { Ok(groups::ALL.to_vec()) } else { names.iter().map(find).collect() }
}

fn bench(arguments: &Arguments) -> Result<Bench, Box<dyn Error>> {
    let allowed = rustix::thread::sched_getaffinity(None)?;
    let mut cores = (0..rustix::thread::CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core));
    let observer = cores.next().ok_or("the CPU affinity of this process is empty")?;
    let libbusy = installation::libbusy()?;
    Ok(Bench {
        busy: libbusy.with_file_name("busy"),
        libbusy,
        python: identify(arguments.python.as_ref()).map_err(|error| error.to_string()),
        folder: arguments.folder.canonicalize()?,
        observer,
        // The last core, because the first one handles most interrupts.
        measured: cores.next_back().unwrap_or(observer),
        quick: arguments.quick,
    })
}

fn measure(bench: &Bench, host: Host, groups: &[Group]) -> Result<Document, Trouble> {
    let start = Instant::now();
    let mut document = Document {
        schema: 1,
        started_at: jiff::Timestamp::now().to_string(),
        took_s: 0.0,
        host,
        python: bench.python.as_ref().ok().map(Interpreter::title),
        pinned_to: [bench.observer, bench.measured],
        results: Vec::new(),
    };
    let progress = ProgressBar::new_spinner();
    progress.enable_steady_tick(Duration::from_millis(250));
    for group in groups {
        progress.set_message(group.name);
        document.results.extend(group.run(bench)?);
    }
    progress.finish_and_clear();
    document.took_s = start.elapsed().as_secs_f64();
    Ok(document)
}
