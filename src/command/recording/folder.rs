//! The folder in shared memory in which the recorded processes open their logs.

use crate::process::Sweeper;
use rustix::fs::{FlockOperation, flock};
use rustix::process::geteuid;
use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// The beginning of the names of such folders.
const PREFIX: &str = "busy-record-";

/// A folder that only this user can use. It disappears with this process, even if that is killed.
pub struct Folder {
    path: PathBuf,
    /// The folder itself, locked as long as it is in use. The sweeper has a lock of its own.
    _lock: File,
    _sweeper: Sweeper,
}

impl Folder {
    /// Creates the folder: in /dev/shm, which is memory, or else in the folder for temporary files. Removes those of this
    /// user whose command and sweeper were both killed.
    ///
    /// # Errors
    /// Neither can be written.
    pub fn create() -> io::Result<Self> {
        let parents = [PathBuf::from("/dev/shm"), std::env::temp_dir()];
        parents.iter().for_each(|parent| remove_abandoned(parent));
        let (path, lock) = create_in(&parents[0]).or_else(|_| create_in(&parents[1]))?;
        let sweeper = Sweeper::start(&path).inspect_err(|_| _ = std::fs::remove_dir(&path))?;
        Ok(Self { path, _lock: lock, _sweeper: sweeper })
    }

    /// Returns its path.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Creates a folder in `parent`, and locks it.
fn create_in(parent: &Path) -> io::Result<(PathBuf, File)> {
    const TRIES: u32 = 10;
    let create = || {
        let stamp = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_nanos();
        let path = parent.join(format!("{PREFIX}{}-{stamp}", std::process::id()));
        DirBuilder::new().mode(0o700).create(&path)?;
        let lock = File::open(&path)?;
        // Where files can't be locked, no folder is taken for abandoned.
        let _ = flock(&lock, FlockOperation::LockShared);
        // Another command may have removed it before it was locked.
        std::fs::metadata(&path).map(|_| (path, lock))
    };
    let is_removed = |created: &io::Result<_>| matches!(created, Err(error) if error.kind() == io::ErrorKind::NotFound);
    let again = (1..TRIES).map(|_| create());
    std::iter::once(create()).chain(again).find(|created| !is_removed(created)).unwrap_or_else(create)
}

/// Removes the folders of this user in `parent` that no process has locked.
fn remove_abandoned(parent: &Path) {
    for entry in std::fs::read_dir(parent).into_iter().flatten().flatten() {
        let is_own = entry.metadata().is_ok_and(|entry| entry.is_dir() && entry.uid() == geteuid().as_raw());
        if is_own
            && entry.file_name().to_string_lossy().starts_with(PREFIX)
            && let Ok(folder) = File::open(entry.path())
            && flock(&folder, FlockOperation::NonBlockingLockExclusive).is_ok()
        {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}
