//! The recording in the formats of other viewers, each in its file.

use crate::command::arguments::RecordArguments;
use crate::command::output::note;
use crate::command::output_paths::{Outputs, PathError};
use crate::results::{NewFile, NewFileError};
use crate::trace::{Recording, chrome, firefox, perfetto};
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Writes a recording in one format.
type Format = fn(&Recording, &mut dyn Write) -> io::Result<()>;

/// The reason why a file is not possible.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// It can't be written.
    #[error(transparent)]
    File(#[from] NewFileError),
    /// One would overwrite the other, or is stdout, which is the program's.
    #[error(transparent)]
    Path(#[from] PathError),
    /// It can't be read again.
    #[error(
        "{0} is not a regular file, but --perfetto, --firefox and --chrome are made from the recording; name a regular \
         file with -o"
    )]
    Unreadable(PathBuf),
}

/// The files that were requested. They are opened before the program starts, so that a missing permission is known early.
pub struct Exports {
    files: Vec<(Format, NewFile)>,
}

impl Exports {
    /// Opens the files. No two outputs of the command may be the same file.
    ///
    /// # Errors
    /// One can't be written, or is named twice.
    pub fn open(arguments: &RecordArguments, recording: &Path) -> Result<Self, ExportError> {
        let requested: [(&'static str, Format, &Option<PathBuf>); 3] = [
            ("--perfetto", |recording, to| perfetto(recording, to), &arguments.perfetto),
            ("--firefox", |recording, to| firefox(recording, to), &arguments.firefox),
            ("--chrome", |recording, to| chrome(recording, to), &arguments.chrome),
        ];
        let mut outputs = Outputs::default();
        outputs.add("-o", recording)?;
        // A page is made beside the recording.
        arguments
            .output
            .as_deref()
            .filter(|output| *output != recording)
            .map_or(Ok(()), |page| outputs.add("-o", page))?;
        let json = arguments.json.as_deref().filter(|json| *json != Path::new("-"));
        json.map_or(Ok(()), |json| outputs.add("--json", json))?;
        let mut files = Vec::new();
        for (option, format, path) in requested {
            let Some(path) = path else { continue };
            outputs.add(option, path)?;
            files.push((format, NewFile::open(path)?));
        }
        Ok(Self { files })
    }

    /// Returns an error if the exports could not be made from the file of the recording, which is not a regular one.
    ///
    /// # Errors
    /// See above.
    pub fn check(&self, path: &Path, file: &File) -> Result<(), ExportError> {
        let is_regular = file.metadata().is_ok_and(|metadata| metadata.is_file());
        if self.files.is_empty() || is_regular { Ok(()) } else { Err(ExportError::Unreadable(path.to_path_buf())) }
    }

    /// Writes the files from the recording at `path`. Whatever fails is reported on stderr.
    pub fn write(self, path: &Path) {
        if self.files.is_empty() {
            return;
        }
        let recording = match Recording::read(path) {
            Ok(recording) => recording,
            Err(error) => return note(&format!("busy: nothing was exported: {error}")),
        };
        if recording.end.is_none() {
            let until = recording.known_until_ns as f64 / 1e9;
            note(&format!("busy: the exports end at {until:.3} s, where {} does", path.display()));
        }
        for (format, file) in self.files {
            if let Err(error) = file.replace_by(|to| format(&recording, to)) {
                note(&format!("busy: {error}"));
            }
        }
    }
}
