//! A process that executes another program (execve(2)) keeps its id and leaves its log behind.

use super::layout::header;
use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Records in the logs of this process in `folder` that it has executed another program: the one that runs now, and that
/// has no log yet. There are several logs if it has executed several programs.
///
/// # Errors
/// The folder can't be read, or a log can't be written: then the other logs are marked all the same.
pub fn mark_executed(folder: &Path) -> io::Result<()> {
    let own = format!("{}-", std::process::id());
    let mark = |log: &Path| {
        let log = OpenOptions::new().write(true).open(log)?;
        log.write_all_at(&1u64.to_ne_bytes(), (header::EXECUTED * 8) as u64)
    };
    let mut marked = Ok(());
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().as_encoded_bytes().starts_with(own.as_bytes()) {
            marked = mark(&entry.path()).and(marked);
        }
    }
    marked
}
