//! The reasons why another process's GIL can't be read.

use std::io;
use std::path::PathBuf;

/// The reason why the GIL can't be read, and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RemoteError {
    /// There is no process with that id.
    #[error("there is no process {pid}")]
    NoProcess {
        /// The id.
        pid: u32,
    },
    /// The kernel does not let this process read the other one.
    #[error("process {pid} can't be read: {reason}")]
    Rights {
        /// Its id.
        pid: u32,
        /// The missing right, and how to get it.
        reason: String,
    },
    /// The process has ended.
    #[error("process {pid} has ended")]
    Ended {
        /// Its id.
        pid: u32,
    },
    /// The process runs another program now.
    #[error("process {pid} has replaced its program (execve(2)): attach to it again")]
    Replaced {
        /// Its id.
        pid: u32,
    },
    /// The process contains no CPython.
    #[error(
        "no CPython symbols found in process {pid}: none of its {files} mapped ELF files has _PyRuntime or \
         _PyThreadState_Current. If it has just started, its libpython may not be loaded yet. If the program contains \
         a stripped Python, link it with -Wl,-E"
    )]
    NotPython {
        /// Its id.
        pid: u32,
        /// The number of files searched.
        files: usize,
    },
    /// The process runs PyPy, whose GIL is a different one.
    #[error("process {pid} runs PyPy ({}): only CPython's GIL can be read", file.display())]
    PyPy {
        /// Its id.
        pid: u32,
        /// PyPy's library or program.
        file: PathBuf,
    },
    /// The process runs a free-threaded build with its GIL off.
    #[error("process {pid} runs CPython {version}, a free-threaded build: it has no GIL (PYTHON_GIL=1 enables it)")]
    NoGil {
        /// Its id.
        pid: u32,
        /// For example, `3.13.0`.
        version: String,
    },
    /// Python is not initialised yet, or was finalised.
    #[error(
        "process {pid} has loaded CPython ({}), but has not initialised it yet, or has finalised it",
        file.display()
    )]
    NotInitialised {
        /// Its id.
        pid: u32,
        /// The file that contains Python.
        file: PathBuf,
    },
    /// The layout of this version of CPython is not known.
    #[error("process {pid} runs CPython {version}: 2.7 and 3.6 to 3.15 can be read")]
    Version {
        /// Its id.
        pid: u32,
        /// For example, `3.4.10`.
        version: String,
    },
    /// The memory does not contain the values that this version would have there.
    #[error("process {pid}, CPython {version}: {found}. This build lays out its state differently from python.org's")]
    Layout {
        /// Its id.
        pid: u32,
        /// For example, `3.11.7`.
        version: String,
        /// The value expected and the value found.
        found: String,
    },
    /// The file that contains Python is no longer mapped.
    #[error("process {pid} has unloaded CPython ({})", file.display())]
    Unloaded {
        /// Its id.
        pid: u32,
        /// The file that contained Python.
        file: PathBuf,
    },
    /// A file on disk differs from the file that the process has mapped.
    #[error(
        "{} differs from the file that process {pid} has mapped: it was replaced. Start the program again, or read the \
         process as root, who can open the old file",
        file.display()
    )]
    FileChanged {
        /// Its id.
        pid: u32,
        /// Its path, as the process sees it.
        file: PathBuf,
    },
    /// Another system call failed.
    #[error("process {pid}: {doing}: {source}")]
    System {
        /// Its id.
        pid: u32,
        /// The action that failed.
        doing: String,
        /// The error of the system call.
        source: io::Error,
    },
}
