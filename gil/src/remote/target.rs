//! One process, by descriptors that refer to the process and not to its id: its folder in /proc, and its memory.
//!
//! The memory is read through /proc/PID/mem. The descriptor refers to the address space that existed when it was
//! opened: after the process has ended or has called execve(2), every read returns 0 bytes (`mem_rw` in
//! fs/proc/base.c). So another process with the same id, or another program in the same process, can't be mistaken for
//! the target, as could happen with process_vm_readv(2). Reading through the descriptor is faster, too.

use super::error::RemoteError;
use super::rights;
use rustix::fs::{Access, AtFlags, Mode, OFlags, accessat, open, openat, readlinkat};
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::Path;

#[derive(Debug)]
pub(super) struct Target {
    pub pid: u32,
    folder: OwnedFd,
    memory: File,
}

impl Target {
    /// The file may be of any kind that a process can map, so opening it must not block.
    const READ: OFlags = OFlags::RDONLY.union(OFlags::CLOEXEC).union(OFlags::NONBLOCK);

    pub fn open(pid: u32) -> Result<Self, RemoteError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = open(format!("/proc/{pid}"), flags, Mode::empty()).map_err(|error| match error {
            Errno::NOENT => RemoteError::NoProcess { pid },
            other => refused(pid, "open /proc/PID", other.into()),
        })?;
        let memory = openat(&folder, "mem", Self::READ, Mode::empty());
        let memory = memory.map_err(|error| refused(pid, "open /proc/PID/mem", error.into()))?;
        Ok(Self { pid, folder, memory: memory.into() })
    }

    /// Fills `buffer` with the memory at `address`. Returns false if part of it is not mapped.
    ///
    /// # Errors
    /// Ended or Replaced: the address space is gone.
    pub fn read(&self, address: u64, buffer: &mut [u8]) -> Result<bool, RemoteError> {
        match self.memory.read_at(buffer, address) {
            Ok(0) if !buffer.is_empty() => Err(self.gone()),
            Ok(length) => Ok(length == buffer.len()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => self.read(address, buffer),
            // EIO: nothing is mapped there. EINVAL: the address is negative.
            Err(error) if [Errno::IO, Errno::INVAL].map(Errno::raw_os_error).contains(&errno(&error)) => Ok(false),
            Err(error) => Err(refused(self.pid, "read its memory", error)),
        }
    }

    /// Returns the eight bytes at `address`; `None` if nothing is mapped there.
    pub fn word(&self, address: u64) -> Result<Option<u64>, RemoteError> {
        let mut bytes = [0; 8];
        Ok(self.read(address, &mut bytes)?.then_some(u64::from_le_bytes(bytes)))
    }

    /// Opens a file of its folder in /proc.
    pub fn open_file(&self, path: &str) -> io::Result<File> {
        Ok(openat(&self.folder, path, Self::READ, Mode::empty())?.into())
    }

    /// Opens the file at `path`, given without the leading slash, in its own mount namespace.
    pub fn open_file_at_root(&self, path: &Path) -> io::Result<File> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = openat(&self.folder, "root", flags, Mode::empty())?;
        Ok(openat(&root, path, Self::READ, Mode::empty())?.into())
    }

    /// Reads a small file of its folder in /proc.
    pub fn file(&self, path: &str) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.open_file(path)?.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// Returns true if its folder in /proc has that file.
    pub fn exists(&self, path: &str) -> bool {
        accessat(&self.folder, path, Access::EXISTS, AtFlags::empty()).is_ok()
    }

    /// Returns the destination of a link in its folder in /proc.
    pub fn link(&self, path: &str) -> io::Result<Vec<u8>> {
        Ok(readlinkat(&self.folder, path, Vec::new())?.into_bytes())
    }

    /// Returns the error for an action on the process that failed with `error`.
    pub fn failed(&self, doing: &str, error: io::Error) -> RemoteError {
        refused(self.pid, doing, error)
    }

    /// Returns the reason why the address space is gone. A process that is ending no longer has a program (`exit_mm` in
    /// kernel/exit.c); after execve(2) it has one.
    fn gone(&self) -> RemoteError {
        let pid = self.pid;
        if self.link("exe").is_ok() { RemoteError::Replaced { pid } } else { RemoteError::Ended { pid } }
    }
}

fn errno(error: &io::Error) -> i32 {
    error.raw_os_error().unwrap_or(0)
}

fn refused(pid: u32, doing: &str, source: io::Error) -> RemoteError {
    match source.kind() {
        io::ErrorKind::PermissionDenied => RemoteError::Rights { pid, reason: rights::missing(pid) },
        _ if errno(&source) == Errno::SRCH.raw_os_error() => RemoteError::Ended { pid },
        io::ErrorKind::NotFound => RemoteError::Ended { pid },
        _ => RemoteError::System { pid, doing: doing.to_owned(), source },
    }
}
