//! The command line, as data.

use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;

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

    /// An interpreter: a path, a command on PATH, or a version such as 3.11; may be given several times
    ///
    /// Without it: the machine's own, python3.
    #[arg(short, long, value_name = "PY")]
    pub python: Vec<String>,

    /// How long each row runs
    #[arg(short = 'd', long = "duration", value_name = "SECONDS", default_value_t = 3,
          value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub seconds: u32,

    /// Write the results as JSON to FILE, or to stdout (-) instead of the table
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}
