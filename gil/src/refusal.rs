//! The reasons why the meter does not start.

/// The reason why the meter does not start. Its text states the expected and the found condition, and a remedy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The operating system, C library or processor is not supported.
    #[error("the GIL is metered on Linux with glibc on x86-64 only; this is another platform")]
    Platform,
    /// The processor lacks an instruction.
    #[error("the processor lacks the instruction {0}, which the meter needs: x86-64 processors since 2006 have it")]
    Processor(&'static str),
    /// The process does not use glibc, for which this library was compiled.
    #[error("this process does not use glibc (no gnu_get_libc_version): the GIL is metered with glibc only")]
    NotGlibc,
    /// The process contains no CPython, or its symbols are not visible.
    #[error(
        "no running CPython is visible in this process (no {0}): start the meter inside a CPython, whose library was \
         not loaded with RTLD_LOCAL"
    )]
    NoPython(&'static str),
    /// The meter can't check the GIL of this version of CPython.
    #[error("CPython {0}.{1} is not metered: 2.7 and 3.7 or later are")]
    Version(u32, u32),
    /// CPython is a free-threaded build whose GIL is off.
    #[error(
        "this is a free-threaded CPython that runs without a GIL: there is none to meter (PYTHON_GIL=1 enables it)"
    )]
    NoGil,
    /// A free-threaded build did not report whether its GIL is enabled.
    #[error("CPython did not report whether its GIL is enabled (the call of sys._is_gil_enabled failed)")]
    NoAnswer,
    /// The calling thread does not hold the GIL.
    #[error(
        "the calling thread does not hold the GIL: start the meter from a call that keeps it (ctypes.PyDLL, not CDLL)"
    )]
    NotHeld,
    /// CPython does not call the function through a table whose entries could be redirected.
    #[error(
        "CPython calls {0} without a relocation in {1}, since it is statically bound: its GIL can't be metered from \
         inside"
    )]
    StaticallyBound(&'static str, String),
    /// Another copy of busy meters this process.
    #[error("another copy of busy meters this process")]
    OtherCopy,
    /// Another tool has redirected the same calls while the meter was running.
    #[error(
        "another tool has redirected CPython's calls while the meter was running (they lead to {0} now), so the figures \
         since then may be incomplete: stop every meter and watch, and start again"
    )]
    Overwritten(String),
    /// Other tools have redirected the calls in too many ways.
    #[error(
        "other tools, now {0}, have redirected CPython's calls in too many different ways while the meter was running: \
         load them before the meter starts"
    )]
    TooManyTools(String),
    /// One release and one acquire did not have the effects that this CPython's GIL should have.
    #[error("this CPython's GIL does not behave as expected: {0}")]
    Unexpected(String),
    /// The system did not provide memory, or did not make the table writable.
    #[error("{0}: {1}")]
    System(&'static str, String),
}
