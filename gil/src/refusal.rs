//! The reasons why the meter does not start.

/// The reason why the meter does not start, with what was expected, what was found, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Another operating system, C library or processor.
    #[error("the GIL is metered on Linux with glibc on x86-64 only; this is another platform")]
    Platform,
    /// The process uses another C library than the one that this was compiled for.
    #[error("this process does not use glibc (no gnu_get_libc_version): the GIL is metered with glibc only")]
    NotGlibc,
    /// No CPython, or none whose symbols are visible.
    #[error(
        "no running CPython is visible in this process (no {0}): start the meter inside a CPython, whose library was \
         not loaded with RTLD_LOCAL"
    )]
    NoPython(&'static str),
    /// A version of CPython whose GIL the meter can't check.
    #[error("CPython {0}.{1} is not metered: 2.7 and 3.7 or later are")]
    Version(u32, u32),
    /// A free-threaded build.
    #[error(
        "this is a free-threaded CPython that runs without a GIL: there is none to meter (PYTHON_GIL=1 turns it on)"
    )]
    NoGil,
    /// A free-threaded build did not answer whether its GIL is on.
    #[error("CPython did not answer whether its GIL is enabled (sys._is_gil_enabled)")]
    NoAnswer,
    /// The calling thread does not hold the GIL.
    #[error(
        "the calling thread does not hold the GIL: start the meter from a call that keeps it (ctypes.PyDLL, not CDLL)"
    )]
    NotHeld,
    /// CPython's calls don't go through a table whose entries could be redirected.
    #[error(
        "CPython calls {0} without a relocation in {1}, since it is statically bound: its GIL can't be metered from \
         inside"
    )]
    StaticallyBound(&'static str, String),
    /// glibc's own function was not found.
    #[error("the C library has no {0}")]
    NoFunction(&'static str),
    /// One release and one acquire did not have the effects that this CPython's GIL should have.
    #[error("this CPython's GIL does not behave as expected: {0}")]
    Unexpected(String),
    /// The system did not provide memory, or did not make the table writable.
    #[error("{0}: {1}")]
    System(&'static str, String),
}
