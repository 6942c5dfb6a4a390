//! Where a command's findings go: text to stdout, unless that is taken by the JSON; JSON to the file asked for.

use crate::publish::{NewFile, PublishError};
use serde::Serialize;
use std::io::{self, Write};
use std::path::Path;

/// Why findings did not get out.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// The JSON file can't be written.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// No room behind stdout, or the like.
    #[error("can't write to stdout: {0}")]
    Stdout(io::Error),
}

/// An output, opened before the work so that missing rights are known early.
pub enum Output {
    /// Text to stdout.
    Text,
    /// JSON to stdout (`--json -`).
    Json,
    /// Text to stdout, JSON to a file.
    Both(Option<NewFile>),
}

impl Output {
    /// For the argument of `--json`, if it was given.
    ///
    /// # Errors
    /// The file can't be written.
    pub fn open(json: Option<&Path>) -> Result<Self, PublishError> {
        Ok(match json {
            None => Self::Text,
            Some(path) if path == Path::new("-") => Self::Json,
            Some(path) => Self::Both(Some(NewFile::open(path)?)),
        })
    }

    /// True if people read stdout.
    pub fn has_text(&self) -> bool {
        !matches!(self, Self::Json)
    }

    /// Writes the findings in the forms that were asked for.
    ///
    /// # Errors
    /// No room, most likely. A reader of stdout that has gone (`| head`) is none: it has had enough.
    pub fn write(&mut self, findings: &impl Serialize, text: impl FnOnce() -> String) -> Result<(), OutputError> {
        let json = || format!("{}\n", serde_json::to_string_pretty(findings).expect("findings are plain data"));
        if let Self::Both(file) = self
            && let Some(file) = file.take()
        {
            file.publish(json().as_bytes())?;
        }
        say(&if self.has_text() { text() } else { json() })
    }
}

/// Writes to stdout, without styles where nobody would see them.
///
/// # Errors
/// As [`Output::write`].
pub fn say(text: &str) -> Result<(), OutputError> {
    match anstream::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(OutputError::Stdout(error)),
        _ => Ok(()),
    }
}

/// Writes a line for people to stderr. A stderr that is gone (the terminal was closed) takes nothing else along.
pub fn note(line: &str) {
    let _ = writeln!(anstream::stderr(), "{line}");
}
