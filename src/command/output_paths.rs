//! The files that a command writes: none may be another one of them, or one that it reads.

use crate::results::destination;
use std::path::{Path, PathBuf};

/// The reason why a file can't be an output.
#[derive(Debug, thiserror::Error)]
pub enum PathError {
    /// Only some options write to stdout.
    #[error("{0} expects the name of a file, found -: it does not write to stdout; use ./- for a file of that name")]
    Stdout(&'static str),
    /// One would overwrite the other.
    #[error("{0} is named for two outputs; give each a file of its own")]
    Twice(PathBuf),
    /// It would overwrite what is read.
    #[error("{0} is named as an input and as an output; name another file for the output")]
    Input(PathBuf),
}

/// The files of a command so far.
#[derive(Default)]
pub struct Outputs {
    inputs: Vec<PathBuf>,
    outputs: Vec<PathBuf>,
}

impl Outputs {
    /// Returns the files of a command that reads `inputs`.
    pub fn of<'a>(inputs: impl IntoIterator<Item = &'a Path>) -> Self {
        Self { inputs: inputs.into_iter().filter_map(identity).collect(), outputs: Vec::new() }
    }

    /// Adds the file that `option` names, which can't be stdout.
    ///
    /// # Errors
    /// See [`PathError`].
    pub fn add(&mut self, option: &'static str, path: &Path) -> Result<(), PathError> {
        if path == Path::new("-") {
            return Err(PathError::Stdout(option));
        }
        let Some(identity) = identity(path) else { return Ok(()) };
        if self.inputs.contains(&identity) {
            return Err(PathError::Input(path.to_path_buf()));
        }
        if self.outputs.contains(&identity) {
            return Err(PathError::Twice(path.to_path_buf()));
        }
        self.outputs.push(identity);
        Ok(())
    }
}

/// Returns the path that `path` stands for, whether or not there is a file; None for a pipe, a terminal or another device,
/// which nothing can overwrite.
fn identity(path: &Path) -> Option<PathBuf> {
    let is_device = path.metadata().is_ok_and(|earlier| !earlier.is_file());
    (!is_device).then(|| destination(path).unwrap_or_else(|_| path.to_path_buf()))
}
