//! `busy top`: what the threads of a program or a process do with the GIL, live.
//!
//! ```text
//! program --logs--> exact.rs ----.                .--> screen.rs (the terminal) <--> keys.rs
//!                                 >--show::live--<                       loops.rs
//! process --samples-> sampled.rs -'                '--> lines of text
//! ```

mod exact;
mod keys;
mod lately;
mod loops;
mod output;
mod sampled;
mod screen;
mod source;
mod usage;
mod window;

use super::arguments::TopArguments;
use super::output::{OutputError, note};
use super::recording::{ProgramError, not_started};
use busy_gil::remote::RemoteError;
use exact::Exact;
use output::ProgramOutput;
use sampled::Sampled;
use screen::Keyboard;
use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

/// The reason why nothing is shown.
#[derive(Debug, thiserror::Error)]
pub enum TopError {
    /// The program was not started.
    #[error(transparent)]
    Program(#[from] ProgramError),
    /// The process can't be read.
    #[error(transparent)]
    Remote(#[from] RemoteError),
    /// The process has ended, or can't be read any more.
    #[error("{0}")]
    Ended(Arc<RemoteError>),
    /// stdout can't be written.
    #[error(transparent)]
    Output(#[from] OutputError),
    /// The program's output can't be written.
    #[error("can't write the program's output to {0}: {1}; name a file in an existing folder with -o")]
    ProgramOutput(PathBuf, io::Error),
    /// The state of the machine can't be read.
    #[error("can't read this machine's state from the kernel: {0}")]
    System(io::Error),
    /// The terminal can't be used.
    #[error("can't use the terminal: {0}; with `| cat`, lines of text are printed instead")]
    Terminal(io::Error),
}

/// Shows what the threads do, until the program or the process ends or the user leaves. Returns the exit code: the program's, or
/// else 0.
///
/// # Errors
/// See [`TopError`].
pub fn top(arguments: &TopArguments) -> Result<ExitCode, TopError> {
    let keyboard = if io::stdout().is_terminal() { Keyboard::open() } else { None };
    if let Some(pid) = arguments.pid {
        let mut source = Sampled::attach(pid)?;
        let shown = match keyboard {
            Some(keyboard) => loops::on_screen(&mut source, keyboard, None),
            None => loops::as_lines(&mut source),
        };
        return match shown {
            Err(TopError::Ended(end)) if matches!(*end, RemoteError::Ended { .. }) => {
                note(&format!("busy: {end}"));
                Ok(ExitCode::SUCCESS)
            }
            other => other,
        };
    }
    let output = ProgramOutput::open(arguments.output.as_deref(), keyboard.is_some())?;
    let mut source = match Exact::start(&arguments.command, arguments.stall, &output, keyboard.is_some()) {
        Err(ProgramError::NotStarted(error)) => return Ok(not_started(&arguments.command[0], &error)),
        other => other?,
    };
    match keyboard {
        Some(keyboard) => {
            let code = loops::on_screen(&mut source, keyboard, Some(output.place()));
            source.report_end();
            output.print();
            code
        }
        None => loops::as_lines(&mut source),
    }
}
