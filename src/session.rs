//! What each measurement on interpreters begins with: who they are, the libbusy and the scripts that they run, the place
//! for the results, and the machine, once it has calmed down.

use crate::experiments;
use crate::host::Host;
use crate::interpreter::{Interpreter, InterpreterError};
use crate::loader::{Libbusy, LoaderError};
use crate::output::{Output, OutputError};
use crate::places::{self, NotInstalled};
use crate::results::Document;
use crate::unpack::CacheError;
use indicatif::ProgressBar;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long to wait for other processes to calm down.
const PATIENCE: Duration = Duration::from_secs(5);

/// All that is there before the first measurement.
pub struct Session {
    /// Who is measured.
    pub interpreters: Vec<Interpreter>,
    /// What does the native waits.
    pub libbusy: Libbusy,
    /// The folder of the scripts.
    pub scripts: PathBuf,
    /// Where the results go.
    pub output: Output,
    /// The machine.
    pub host: Host,
}

/// Why nothing can be measured.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// An interpreter that can't be used.
    #[error(transparent)]
    Interpreter(#[from] InterpreterError),
    /// libbusy is not where it should be.
    #[error(transparent)]
    NotInstalled(#[from] NotInstalled),
    /// libbusy is not as it should be.
    #[error(transparent)]
    Loader(#[from] LoaderError),
    /// The cache can't be written.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// The results can't be written.
    #[error(transparent)]
    Output(#[from] OutputError),
    /// The kernel does not tell what is needed.
    #[error("can't read what the kernel tells of this machine: {0}")]
    Host(io::Error),
}

impl Session {
    /// On the interpreters called `pythons`, with results that also go to the file `json`, if one is given.
    ///
    /// # Errors
    /// See [`SessionError`].
    pub fn open(pythons: &[OsString], json: Option<&Path>) -> Result<Self, SessionError> {
        let interpreters = Interpreter::resolve(pythons)?;
        let libbusy = Libbusy::open(&places::libbusy()?)?;
        let scripts = experiments::unpack()?;
        let output = Output::open(json).map_err(OutputError::from)?;
        let progress = ProgressBar::new_spinner().with_message("waiting for other processes to be quiet");
        progress.enable_steady_tick(Duration::from_millis(250));
        let host = Host::observe(PATIENCE).map_err(SessionError::Host)?;
        progress.finish_and_clear();
        Ok(Self { interpreters, libbusy, scripts, output, host })
    }

    /// A file of results, begun now and still empty.
    pub fn document<R>(&self) -> Document<R> {
        Document {
            schema: 1,
            started_at: jiff::Timestamp::now().to_string(),
            libbusy: self.libbusy.version(),
            host: self.host.clone(),
            results: Vec::new(),
        }
    }
}
