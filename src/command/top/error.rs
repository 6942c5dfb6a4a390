//! The reasons why `busy top` shows nothing.

use crate::command::output::OutputError;
use crate::command::output_paths::PathError;
use crate::command::recording::ProgramError;
use busy_gil::remote::RemoteError;
use std::io;
use std::path::PathBuf;
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
    /// stdout is named as a file.
    #[error(transparent)]
    Path(#[from] PathError),
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
