//! The output of a program that is shown on a screen, which the program must not write to.

use super::error::TopError;
use crate::command::output::note;
use std::fs::File;
use std::io::{self, IsTerminal, Read, Seek, SeekFrom, stdout};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The number of bytes of the output that are printed at the end.
const MOST_BYTES: u64 = 1 << 20;

/// The place where the program's output goes.
pub enum ProgramOutput {
    /// The streams of this command.
    Own,
    /// A file that the user has named.
    File(PathBuf, File),
    /// A file without a name, which is printed at the end.
    Later(File),
}

impl ProgramOutput {
    /// Opens the place: the file `path` if it is given, else a file without a name if there is a screen.
    ///
    /// # Errors
    /// The file can't be created.
    pub fn open(path: Option<&Path>, has_screen: bool) -> Result<Self, TopError> {
        match path {
            Some(path) => {
                let file = File::options().append(true).create(true).open(path);
                let file =
                    file.and_then(
                        |file| if file.metadata()?.is_file() { file.set_len(0).map(|()| file) } else { Ok(file) },
                    );
                let file = file.map_err(|error| TopError::ProgramOutput(path.to_path_buf(), error))?;
                Ok(Self::File(path.to_path_buf(), file))
            }
            None if has_screen => {
                let file = tempfile::tempfile();
                Ok(Self::Later(file.map_err(|error| TopError::ProgramOutput(std::env::temp_dir(), error))?))
            }
            None => Ok(Self::Own),
        }
    }

    /// Returns the place as the help names it.
    pub fn place(&self) -> String {
        match self {
            Self::Own => "to this command's streams".into(),
            Self::File(path, _) => format!("to {}", path.display()),
            Self::Later(_) => "to the terminal, once this screen ends".into(),
        }
    }

    /// Connects the streams of `command`. Those that would disturb the screen are replaced: stdout, stderr if it is a
    /// terminal, and stdin if it is a terminal, whose keys are for the screen.
    ///
    /// # Errors
    /// This process has no descriptor left.
    pub fn connect(&self, command: &mut Command, has_screen: bool) -> io::Result<()> {
        if has_screen && io::stdin().is_terminal() {
            command.stdin(Stdio::null());
        }
        let file = match self {
            Self::Own => return Ok(()),
            Self::File(_, file) | Self::Later(file) => file,
        };
        command.stdout(file.try_clone()?);
        if matches!(self, Self::File(..)) || io::stderr().is_terminal() {
            command.stderr(file.try_clone()?);
        }
        Ok(())
    }

    /// Prints the output that was kept: its last part, if it is very long.
    pub fn print(self) {
        let Self::Later(mut file) = self else { return };
        let length = file.metadata().map_or(0, |data| data.len());
        let left_out = length.saturating_sub(MOST_BYTES);
        if left_out > 0 {
            note(&format!("busy: the first {left_out} bytes of the program's output are left out; -o FILE keeps them"));
        }
        // A closed stdout is ignored, as is a program that writes on.
        let _ = file
            .seek(SeekFrom::Start(left_out))
            .and_then(|_| io::copy(&mut file.take(length - left_out), &mut stdout().lock()));
    }
}
