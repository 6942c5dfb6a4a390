//! The reason why an interpreter can't be used.

use crate::process::SupervisorError;

/// The reason why something is not an interpreter that can be used.
#[derive(Debug, thiserror::Error)]
pub enum InterpreterError {
    /// It did not answer the query.
    #[error("{name} is not a Python that runs: {reason}; `busy pythons` lists those that do, and -p takes a path too")]
    NoAnswer {
        /// The command, as the user named it.
        name: String,
        /// The reason, such as its answer or its exit code.
        reason: String,
    },
    /// There is no such file or folder, nor a command on PATH.
    #[error(
        "there is no file, folder or command \"{0}\"; -p takes a version, the path of an interpreter, or the folder of a \
         virtual environment, and `busy pythons` lists the interpreters of this machine"
    )]
    NoSuchFile(String),
    /// The folder is no virtual environment.
    #[error(
        "{0} has no bin/python; -p takes the folder of a virtual environment, the path of an interpreter, or a version"
    )]
    NoEnvironment(String),
    /// The active virtual environment has no interpreter.
    #[error("the active environment (VIRTUAL_ENV) can't be used: {0}; deactivate it, or name an interpreter with -p")]
    ActiveEnvironment(Box<InterpreterError>),
    /// No interpreter of that version was found.
    #[error(
        "there is no Python {version} here, only {}; give -p the path of one (on Debian, `make interpreters` in busy's sources \
         installs 3.14, 3.15, 3.13t and PyPy)",
        .found.join(", ")
    )]
    NotFound {
        /// The version, as the user named it.
        version: String,
        /// The interpreters that were found.
        found: Vec<String>,
    },
    /// The lab was interrupted, or a supervisor was lost.
    #[error(transparent)]
    Supervisor(#[from] SupervisorError),
}
