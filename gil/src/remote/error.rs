//! What may stand in the way of looking at another process's GIL.

use std::io;
use std::path::PathBuf;

/// Why there is no figure, and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RemoteError {
    /// No process has that id.
    #[error("there is no process {pid}")]
    NoProcess {
        /// The id.
        pid: u32,
    },
    /// The kernel does not let this process look into that one.
    #[error("process {pid} can't be looked into: {reason}")]
    Rights {
        /// Its id.
        pid: u32,
        /// The right that is missing, and how to get it.
        reason: String,
    },
    /// It has ended.
    #[error("process {pid} has ended")]
    Ended {
        /// Its id.
        pid: u32,
    },
    /// It runs another program by now.
    #[error("process {pid} has replaced its program (execve(2)): attach to it again")]
    Replaced {
        /// Its id.
        pid: u32,
    },
    /// There is no CPython in it.
    #[error(
        "process {pid} runs no CPython that shows: none of its {files} mapped ELF files has the symbol _PyRuntime or \
         _PyThreadState_Current (if it has just started, its libpython may not be loaded yet; a program that contains \
         a stripped Python has to be linked with -Wl,-E)"
    )]
    NotPython {
        /// Its id.
        pid: u32,
        /// How many files were looked through.
        files: usize,
    },
    /// It is PyPy, whose GIL is another one.
    #[error("process {pid} runs PyPy ({}): only CPython's GIL can be read", file.display())]
    PyPy {
        /// Its id.
        pid: u32,
        /// PyPy's library or program.
        file: PathBuf,
    },
    /// A free-threaded build with its GIL off.
    #[error(
        "process {pid} runs CPython {version}, a free-threaded build: there is no GIL (PYTHON_GIL=1 would enable it)"
    )]
    NoGil {
        /// Its id.
        pid: u32,
        /// As `3.13.0`.
        version: String,
    },
    /// Python has not been initialised yet, or has been finalised.
    #[error("process {pid} has loaded CPython ({}), but it is not initialised: not yet, or no longer", file.display())]
    NotInitialised {
        /// Its id.
        pid: u32,
        /// The file that contains Python.
        file: PathBuf,
    },
    /// A version of CPython whose state is not known.
    #[error("process {pid} runs CPython {version}: 2.7 and 3.6 to 3.15 can be read")]
    Version {
        /// Its id.
        pid: u32,
        /// As `3.4.10`.
        version: String,
    },
    /// What lies in the memory is not what this version has there.
    #[error(
        "process {pid}, CPython {version}: {found}; this build lays out its state in another way than python.org's"
    )]
    Layout {
        /// Its id.
        pid: u32,
        /// As `3.11.7`.
        version: String,
        /// What was expected and what was found.
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
    /// A file on the disk is not the one that runs.
    #[error(
        "{} is not what process {pid} has mapped of it: it was replaced meanwhile. Start the program again, or look at \
         it as root, who can open the old file",
        file.display()
    )]
    FileChanged {
        /// Its id.
        pid: u32,
        /// Its path, as the process sees it.
        file: PathBuf,
    },
    /// The system refused something else.
    #[error("process {pid}: {doing}: {source}")]
    System {
        /// Its id.
        pid: u32,
        /// What was tried.
        doing: String,
        /// What came back.
        source: io::Error,
    },
}
