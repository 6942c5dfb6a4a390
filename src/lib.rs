//! The lab: finds out what an interpreter is, runs the talk's experiments on it in guarded child processes, watches
//! them from outside, and reports. It stands above libbusy and the Python module, which know nothing of it.

pub mod check;
pub mod cli;
pub mod embedder;
pub mod environment;
pub mod experiments;
pub mod extension;
pub mod guard;
pub mod host;
pub mod interpreter;
pub mod interrupt;
pub mod list;
pub mod load;
pub mod loader;
pub mod measure;
pub mod output;
pub mod places;
pub mod publish;
pub mod pythons;
pub mod results;
pub mod resume;
pub mod run;
pub mod session;
pub mod signals;
pub mod table;
pub mod told;
pub mod units;
pub mod unpack;
pub mod watch;

use clap::Parser;
use cli::{Cli, Command};
use std::ffi::OsString;
use std::process::ExitCode;

/// Exit code for wrong usage, and for whatever keeps the command from running at all.
const WRONG_USAGE: u8 = 2;

/// The command `busy`: `arguments` as from the shell, the command's own name first.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    if let Some(code) = guard::reentered(&arguments) {
        return code;
    }
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { WRONG_USAGE } else { 0 });
        }
    };
    if let Err(error) = interrupt::catch() {
        return fail(&error);
    }
    match &cli.command {
        Command::List(arguments) => done(list::list(arguments.json.as_deref())),
        Command::Pythons(arguments) => done(pythons::pythons(arguments.json.as_deref())),
        // Ctrl-C is how a load without end is ended: no failure.
        Command::Load(arguments) => done(load::load(arguments)),
        Command::Run(arguments) => ended(run::run(arguments)),
        Command::Check(arguments) => ended(check::check(arguments)),
    }
}

fn ended(result: Result<ExitCode, impl std::error::Error>) -> ExitCode {
    match result {
        Ok(code) => code,
        Err(_) if interrupt::requested() => ExitCode::from(interrupt::EXIT_CODE),
        Err(error) => fail(&error),
    }
}

fn done(result: Result<(), impl std::error::Error>) -> ExitCode {
    result.map_or_else(|error| fail(&error), |()| ExitCode::SUCCESS)
}

fn fail(error: &impl std::error::Error) -> ExitCode {
    output::note(&format!("busy: {error}"));
    ExitCode::from(WRONG_USAGE)
}
