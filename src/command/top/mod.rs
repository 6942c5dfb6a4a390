//! `busy top`: what the threads of a program or a process do with the GIL, live.
//!
//! ```text
//! program --logs--> exact.rs ----.                .--> screen.rs (the terminal) <--> keys.rs
//!                                 >--show::live--<                       loops.rs
//! process --samples-> sampled.rs -'                '--> lines of text
//! ```

mod error;
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
use super::output::note;
use super::output_paths::Outputs;
use super::recording::{ProgramError, check_executable, not_started};
use crate::provision::installation;
use busy_gil::remote::RemoteError;
pub use error::TopError;
use exact::Exact;
use output::ProgramOutput;
use sampled::Sampled;
use screen::Keyboard;
use std::io::{self, IsTerminal};
use std::process::ExitCode;

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
            None => loops::as_lines(&mut source, false),
        };
        return match shown {
            // Python finalises itself before its process ends.
            Err(TopError::Ended(end))
                if matches!(*end, RemoteError::Ended { .. } | RemoteError::NotInitialised { .. }) =>
            {
                note(&format!("busy: {end}"));
                Ok(ExitCode::SUCCESS)
            }
            other => other,
        };
    }
    // Known before an earlier output is overwritten.
    arguments.output.as_deref().map_or(Ok(()), |path| Outputs::default().add("-o", path))?;
    installation::record_library().and_then(|_| installation::libbusy()).map_err(ProgramError::from)?;
    if let Err(error) = check_executable(&arguments.command[0]) {
        return Ok(not_started(&arguments.command[0], &error));
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
            source.report_unseen();
            output.print();
            code
        }
        None => {
            let code = loops::as_lines(&mut source, true);
            source.report_unseen();
            code
        }
    }
}
