//! The output of a subcommand: text to stdout unless the JSON goes there, JSON to the requested file.

use crate::results::{NewFile, NewFileError};
use crate::show::visible;
use serde::Serialize;
use std::io::{self, Write};
use std::path::Path;

/// The reason why results could not be written.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// The JSON file can't be written.
    #[error(transparent)]
    File(#[from] NewFileError),
    /// stdout can't be written: a full disk, for example.
    #[error("can't write to stdout: {0}")]
    Stdout(io::Error),
}

/// The destination of results. It is opened before the work, so that a missing permission is known early.
pub enum Output {
    /// Text to stdout.
    Text,
    /// JSON to stdout (`--json -`).
    Json,
    /// Text to stdout, JSON to a file.
    Both(Option<NewFile>),
}

impl Output {
    /// Opens the output for the argument of `--json`, if it was given.
    ///
    /// # Errors
    /// The file can't be written.
    pub fn open(json: Option<&Path>) -> Result<Self, OutputError> {
        Ok(match json {
            None => Self::Text,
            Some(path) if path == Path::new("-") => Self::Json,
            Some(path) => Self::Both(Some(NewFile::open(path)?)),
        })
    }

    /// Returns true if stdout is for people.
    pub fn has_text(&self) -> bool {
        !matches!(self, Self::Json)
    }

    /// Writes the results in the requested forms. If the file can't be written, stdout still gets the text.
    ///
    /// # Errors
    /// A full disk, most likely. A closed stdout (`| head`) is not an error.
    pub fn write(&mut self, results: &impl Serialize, text: impl FnOnce() -> String) -> Result<(), OutputError> {
        let json = || format!("{}\n", serde_json::to_string_pretty(results).expect("results are plain data"));
        let file = if let Self::Both(file) = self { file.take() } else { None };
        let replaced = file.map_or(Ok(()), |file| file.replace(json().as_bytes()).map(drop));
        print(&if self.has_text() { text() } else { json() })?;
        Ok(replaced?)
    }
}

/// Writes to stdout, without styles if it is not a terminal.
///
/// # Errors
/// As [`Output::write`].
pub fn print(text: &str) -> Result<(), OutputError> {
    is_printed(text).map(drop)
}

/// Does the same. Returns false if stdout is closed, so that nothing more needs to be written.
///
/// # Errors
/// As [`Output::write`].
pub fn is_printed(text: &str) -> Result<bool, OutputError> {
    match anstream::stdout().write_all(text.as_bytes()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(OutputError::Stdout(error)),
    }
}

/// Writes a line for people to stderr, without styles: escape sequences in quoted text are shown, not obeyed. A closed
/// stderr (the terminal is gone) is ignored.
pub fn note(line: &str) {
    let _ = writeln!(io::stderr(), "{}", visible(line));
}
