//! What every measurement on interpreters starts with: the interpreters, the libbusy and the scripts that they run, the output,
//! and the machine, once it is quiet.

use super::output::{Output, OutputError, note};
use crate::interpreter::{self, InterpreterError, Resolved};
use crate::measure::host;
use crate::provision::installation::{self, NotInstalled};
use crate::provision::loader::{Libbusy, LoaderError};
use crate::provision::{UnpackError, scripts};
use crate::results::{Host, Interpreter};
use indicatif::ProgressBar;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What is there before the first measurement.
pub struct Session {
    /// The interpreters to measure.
    pub interpreters: Vec<Interpreter>,
    /// The library of the native waits and of the GIL meter.
    pub libbusy: Libbusy,
    /// The folder of the scripts.
    pub scripts: PathBuf,
    /// The destination of the results.
    pub output: Output,
    /// The machine.
    pub host: Host,
}

/// The reason why nothing can be measured.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// An interpreter can't be used.
    #[error(transparent)]
    Interpreter(#[from] InterpreterError),
    /// libbusy was not found.
    #[error(transparent)]
    NotInstalled(#[from] NotInstalled),
    /// libbusy is not the expected one.
    #[error(transparent)]
    Loader(#[from] LoaderError),
    /// The scripts can't be unpacked.
    #[error(transparent)]
    Scripts(#[from] UnpackError),
    /// The results can't be written.
    #[error(transparent)]
    Output(#[from] OutputError),
    /// Something under /proc can't be read.
    #[error("can't read this machine's state from the kernel: {0}")]
    Host(io::Error),
}

impl Session {
    /// Opens a session for the interpreters that `pythons` name, with results that also go to the file `json`, if one is given.
    /// Waits up to `patience` for other processes to be quiet. A name that stands for no interpreter is reported on stderr, if others are left.
    ///
    /// # Errors
    /// See [`SessionError`].
    pub fn open(pythons: &[OsString], json: Option<&Path>, patience: Duration) -> Result<Self, SessionError> {
        let Resolved { interpreters, unknown } = interpreter::resolve(pythons)?;
        for error in unknown {
            note(&format!("skipped: {error}"));
        }
        let libbusy = Libbusy::open(&installation::libbusy()?)?;
        let scripts = scripts::unpack()?;
        let output = Output::open(json)?;
        let progress = ProgressBar::new_spinner().with_message("waiting for other processes to be quiet");
        progress.enable_steady_tick(Duration::from_millis(250));
        let host = host::observe(patience).map_err(SessionError::Host)?;
        progress.finish_and_clear();
        Ok(Self { interpreters, libbusy, scripts, output, host })
    }
}
