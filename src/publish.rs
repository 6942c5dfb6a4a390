//! Writes a file whole or not at all: a killed run leaves the earlier one as it was, and no half of a new one.

use rustix::fs::{AtFlags, CWD, Mode, OFlags, linkat, open};
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

/// A file to come. It has no name until [`Self::publish`], so whatever ends the process takes it along.
pub struct NewFile {
    file: File,
    path: PathBuf,
}

/// Why a file can't be written.
#[derive(Debug, thiserror::Error)]
#[error("can't write {path}: {error}; name a file in a folder that exists, with room, where you may write")]
pub struct PublishError {
    path: PathBuf,
    error: io::Error,
}

impl NewFile {
    /// Opens it, so that missing rights are known before anything is measured.
    ///
    /// # Errors
    /// The folder does not exist, may not be written to, or `path` is itself a folder.
    pub fn open(path: &Path) -> Result<Self, PublishError> {
        let fail = |error| PublishError { path: path.to_path_buf(), error };
        if path.is_dir() {
            return Err(fail(io::ErrorKind::IsADirectory.into()));
        }
        // O_TMPFILE, open(2): a file in that folder's file system without a name.
        let mode = Mode::from_raw_mode(0o644);
        match open(folder_of(path), OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC, mode) {
            Ok(file) => Ok(Self { file: file.into(), path: path.to_path_buf() }),
            Err(error) => Err(fail(error.into())),
        }
    }

    /// Gives the file its content and its name, in place of an earlier file of that name.
    ///
    /// # Errors
    /// No room, most likely; an earlier file is left as it was.
    pub fn publish(mut self, content: &[u8]) -> Result<PathBuf, PublishError> {
        match self.link(content) {
            Ok(()) => Ok(self.path),
            Err(error) => Err(PublishError { path: self.path, error }),
        }
    }

    fn link(&mut self, content: &[u8]) -> io::Result<()> {
        self.file.write_all(content)?;
        self.file.sync_all()?;
        // linkat(2) refuses an existing name, so an earlier file is replaced by a rename, of a file that is whole.
        let own = format!("/proc/self/fd/{}", self.file.as_raw_fd());
        let passing = folder_of(&self.path).join(format!(".busy-{}", std::process::id()));
        linkat(CWD, own, CWD, &passing, AtFlags::SYMLINK_FOLLOW)?;
        fs::rename(&passing, &self.path).inspect_err(|_| drop(fs::remove_file(&passing)))
    }
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_appears_whole_and_replaces_an_earlier_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("result.json");
        for content in ["first", "second"] {
            let new = NewFile::open(&path).unwrap();
            let before = fs::read_to_string(&path).unwrap_or_default();
            assert_ne!(before, content);
            assert_eq!(new.publish(content.as_bytes()).unwrap(), path);
            assert_eq!(fs::read_to_string(&path).unwrap(), content);
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else is left in the folder");
    }

    #[test]
    fn a_file_that_is_never_published_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        drop(NewFile::open(&folder.path().join("result.json")).unwrap());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn impossible_places_are_told_at_once() {
        let folder = tempfile::tempdir().unwrap();
        assert!(NewFile::open(&folder.path().join("no/such/folder.json")).is_err());
        assert!(NewFile::open(folder.path()).is_err());
    }
}
