from typing import Final, SupportsFloat, SupportsIndex, TypeAlias

__all__ = [
    "__version__",
    "counters_begin",
    "counters_read",
    "cpu_clocks",
    "gil_close",
    "gil_close_orphan",
    "gil_histograms",
    "gil_open",
    "gil_read",
    "gil_rows",
    "own_row",
    "own_run_delay",
    "own_times",
    "run_delays",
    "stalls_forget",
    "stalls_next",
    "stalls_open",
    "stalls_stop",
    "with_lock",
    "without_lock",
]

__version__: Final[str]

# The interpreter, whether it is metered, metered_ns and held_ns.
_Gil: TypeAlias = tuple[int, bool, int, int]
# The fields of busy._gil.ThreadRow.
_Thread: TypeAlias = tuple[int, int, bool, bool, int, int, int, int, int, int, int]

def with_lock(seconds: SupportsFloat | SupportsIndex, /) -> int:
    """Spins for at least `seconds` with the GIL held, and returns the number of clock polls."""

def without_lock(seconds: SupportsFloat | SupportsIndex, /) -> int:
    """Spins for at least `seconds` with the GIL released, and returns the number of clock polls."""

def counters_begin() -> None:
    """Starts the meter, which is never stopped then, with histograms."""

def counters_read(which: int) -> tuple[int, int, int, bool, int, int, int, int, int, bytes] | None:
    """Returns the sums of the GIL with the index `which`: session, number of GILs, interpreter, whether it was
    metered, metered, held and waited nanoseconds, acquisitions, forced drops, histograms. None if there is none."""

def gil_open(histograms: bool) -> object:
    """Starts the meter if needed, and opens a window, with histograms if wanted. Returns a capsule, which closes the
    window when it is deallocated."""

def gil_read(window: object) -> tuple[_Gil, object, list[_Gil]]:
    """Returns the figures of the window since it was opened, or in a forked child since the fork: the caller's GIL, a
    capsule of its threads, for `gil_rows`, and the GILs of other interpreters."""

def gil_rows(rows: object, start: int) -> list[_Thread]:
    """Returns the next rows of a reading, from the row `start` on; none at its end."""

def gil_histograms(window: object) -> tuple[list[int], list[int]]:
    """Returns how many holds and how many waits of the caller's GIL had which length, since the window was opened with
    histograms: two lists of 26 counts (BUSY_GIL_BUCKETS)."""

def own_times() -> tuple[int, int]:
    """Returns the nanoseconds for which the calling thread has held the GIL, and waited for it. The first call in a
    process starts the meter, which is never stopped then."""

def own_row() -> int | None:
    """Returns the `id` of the calling thread's row. None if the GIL is not metered, or the thread has no row."""

def gil_close(window: object) -> None:
    """Closes the window, if it is open. Closing the last window of the process stops the meter."""

def gil_close_orphan(window: object) -> bool:
    """Closes the window if a forked child has inherited it from a thread that it lacks, and returns True then."""

def stalls_open(threshold_ns: int) -> object:
    """Starts the meter if needed, and begins to report the holds of that many nanoseconds. Returns a capsule, which
    ends the reports when it is deallocated."""

def stalls_next(
    stalls: object, timeout_ns: int
) -> tuple[int, int, int, int, int, list[tuple[int, int]], bool, str, int] | None:
    """Waits for the next stall, with the GIL released, for at most that many nanoseconds. Returns None after that
    time, and when `stalls_stop` was called; otherwise the arguments of busy._stalls._stall, and the number of missed
    stalls."""

def stalls_stop(stalls: object) -> None:
    """Makes all calls of `stalls_next` with this capsule return None, now and later."""

def stalls_forget(stalls: object) -> None:
    """Undoes the start of the parent's stalls in a forked child, where the capsule may never be deallocated. Does
    nothing in the process that has opened them."""

def cpu_clocks() -> dict[int, int]:
    """Returns the CPU time of each living thread of this process, in nanoseconds, by native thread id. Empty without
    /proc."""

def run_delays() -> dict[int, int]:
    """Returns the run delay of each living thread of this process, in nanoseconds, by native thread id: the time that
    it was runnable without a CPU. Empty where the kernel does not report it."""

def own_run_delay() -> int | None:
    """Returns the run delay of the calling thread, in nanoseconds. None where the kernel does not report it."""
