//! The folder in shared memory in which the recorded processes open their logs.

use crate::process::Sweeper;
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// A folder that only this user can use. It disappears with this process, even if that is killed.
pub struct Folder {
    path: PathBuf,
    _sweeper: Sweeper,
}

impl Folder {
    /// Creates the folder: in /dev/shm, which is memory, or else in the folder for temporary files.
    ///
    /// # Errors
    /// Neither can be written.
    pub fn create() -> io::Result<Self> {
        let stamp = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_nanos();
        let name = format!("busy-record-{}-{stamp}", std::process::id());
        let create = |parent: &Path| {
            let path = parent.join(&name);
            DirBuilder::new().mode(0o700).create(&path).map(|()| path)
        };
        let path = create(Path::new("/dev/shm")).or_else(|_| create(&std::env::temp_dir()))?;
        let sweeper = Sweeper::start(&path).inspect_err(|_| _ = std::fs::remove_dir(&path))?;
        Ok(Self { path, _sweeper: sweeper })
    }

    /// Returns its path.
    pub fn path(&self) -> &Path {
        &self.path
    }
}
