//! The reasons why a stack can't be read.

use super::super::error::RemoteError;

/// The reason why a stack can't be read, and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StackError {
    /// The process can't be read, has ended, or runs a CPython that can't be read.
    #[error(transparent)]
    Process(#[from] RemoteError),
    /// The process runs a free-threaded build, whose frames are laid out differently.
    #[error(
        "process {pid} runs CPython {version}, a free-threaded build: stacks are read from builds with a GIL only. Run \
         the program with python{version} instead of python{version}t"
    )]
    FreeThreaded {
        /// Its id.
        pid: u32,
        /// For example, `3.13.0`.
        version: String,
    },
    /// There is no thread state at the address: the thread has ended.
    #[error(
        "expected a thread state of process {pid} at {state:#x}, found none: the thread has ended. List the threads \
         again"
    )]
    NoThread {
        /// The id of the process.
        pid: u32,
        /// The address.
        state: u64,
    },
    /// The process changed the stack while it was read, so that its parts contradict each other.
    #[error("the stack changed while it was read: expected {expected}, found {found:#x}. Read it again")]
    Torn {
        /// The expected value.
        expected: &'static str,
        /// The value found.
        found: u64,
    },
    /// Up to 3.6, the threads are found from the one that holds the GIL.
    #[error(
        "process {pid}: up to CPython 3.6, threads can be listed only after one was seen holding the GIL. List them \
         again while the program runs Python code"
    )]
    NoHolder {
        /// Its id.
        pid: u32,
    },
}

impl StackError {
    /// Returns true if another attempt may succeed at once.
    pub fn is_torn(&self) -> bool {
        matches!(self, Self::Torn { .. })
    }
}

/// Returns the error for `found` where `expected` should have been.
pub(super) fn torn<T>(expected: &'static str, found: u64) -> Result<T, StackError> {
    Err(StackError::Torn { expected, found })
}

/// Returns `address` if it can be the address of an object: aligned, not 0, and in user space.
pub(super) fn plausible(address: u64, expected: &'static str) -> Result<u64, StackError> {
    /// The largest user address with five levels of page tables (Documentation/arch/x86/x86_64/5level-paging.rst).
    const END: u64 = 1 << 56;
    if address != 0 && address.is_multiple_of(8) && address < END { Ok(address) } else { torn(expected, address) }
}
