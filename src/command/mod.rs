//! The command `busy`: its arguments, and one module a subcommand.

mod arguments;
mod check;
mod hosts;
mod list;
mod load;
mod output;
mod output_paths;
mod pythons;
mod record;
mod recording;
mod report;
mod run;
mod session;
mod top;

pub use output::{Output, OutputError, note, print};

use crate::process::{self, interrupt};
use arguments::{Cli, Command};
use clap::{CommandFactory, Parser};
use std::ffi::OsString;
use std::process::ExitCode;

/// The exit code for wrong usage, and for an error that keeps the command from running at all.
const WRONG_USAGE: u8 = 2;

/// Returns the description of the command line, from which the manual pages and the completions are made.
pub fn command_line() -> clap::Command {
    Cli::command()
}

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
    // The signals of a command that runs a program in the foreground are the program's.
    let runs_program = match &cli.command {
        Command::Record(arguments) => arguments.pid.is_none(),
        Command::Top(arguments) => arguments.pid.is_none(),
        _ => false,
    };
    if !runs_program && let Err(error) = interrupt::catch() {
        return fail(&error);
    }
    match &cli.command {
        Command::List(arguments) => ended(list::list(arguments.json.as_deref()).map(|()| ExitCode::SUCCESS)),
        Command::Pythons(arguments) => ended(pythons::pythons(arguments.json.as_deref()).map(|()| ExitCode::SUCCESS)),
        Command::Load(arguments) => ended(load::load(arguments)),
        Command::Run(arguments) => ended(run::run(arguments)),
        Command::Check(arguments) => ended(check::check(arguments)),
        Command::Record(arguments) => ended(record::record(arguments)),
        Command::Top(arguments) => ended(top::top(arguments)),
        Command::Report(arguments) => ended(report::report(arguments)),
    }
}

fn ended(result: Result<ExitCode, impl std::error::Error>) -> ExitCode {
    match (result, interrupt::exit_code()) {
        (Ok(code), _) => code,
        (Err(_), Some(code)) => ExitCode::from(code),
        (Err(error), None) => fail(&error),
    }
}

fn fail(error: &impl std::error::Error) -> ExitCode {
    output::note(&format!("busy: {error}"));
    ExitCode::from(WRONG_USAGE)
}
