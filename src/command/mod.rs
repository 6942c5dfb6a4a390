//! The command `busy`: its arguments, and one module a subcommand.

mod arguments;
mod check;
mod list;
mod load;
mod output;
mod pythons;
mod run;
mod session;

pub use output::{Output, OutputError, note, print};

use crate::process::{self, interrupt};
use arguments::{Cli, Command};
use clap::Parser;
use std::ffi::OsString;
use std::process::ExitCode;

/// The exit code for wrong usage, and for an error that keeps the command from running at all.
const WRONG_USAGE: u8 = 2;

/// Runs the command with `arguments`, the command's own name first. Returns its exit code.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    if let Some(code) = process::reentered(&arguments) {
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
        // Ctrl-C is the usual end of a load without --for, and not a failure.
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
