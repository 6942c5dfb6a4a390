from typing import Final, SupportsFloat, SupportsIndex, TypedDict, final, type_check_only

__all__ = [
    "__version__",
    "cpu_clocks",
    "gil_not_meterable",
    "gil_window",
    "own_run_delay",
    "run_delays",
    "with_lock",
    "without_lock",
]

__version__: Final[str]

def with_lock(seconds: SupportsFloat | SupportsIndex, /) -> int:
    """Spin for at least `seconds` with the GIL held, and return the number of clock polls."""

def without_lock(seconds: SupportsFloat | SupportsIndex, /) -> int:
    """Spin for at least `seconds` with the GIL released, and return the number of clock polls."""

def gil_not_meterable() -> type[GilNotMeterable]:
    """Returns the exception class GilNotMeterable, created on first use."""

def gil_window() -> GilWindow:
    """Starts the meter if needed, and opens a window."""

@type_check_only
class GilNotMeterable(RuntimeError):
    """The GIL of this process cannot be metered; the message gives the reason and what to do."""

def cpu_clocks() -> dict[int, int]:
    """Returns the CPU time of each living thread of this process, in nanoseconds, by native thread id. Empty without
    /proc."""

def run_delays() -> dict[int, int]:
    """Returns the run delay of each living thread of this process, in nanoseconds, by native thread id: the time that
    it was runnable without a CPU. Empty where the kernel does not report it."""

def own_run_delay() -> int | None:
    """Returns the run delay of the calling thread. None where the kernel does not report it."""

@final
@type_check_only
class GilWindow:
    """Meters the GIL until `close()`, or until it is deallocated, with a longest hold and wait of its own."""

    def read(self) -> _Reading:
        """Returns the totals since the window was opened; in a forked child, since the fork."""

    def close(self) -> None:
        """Closes the window. Closing the last window of the process stops the meter."""

@type_check_only
class _Reading(TypedDict):
    gil: GilRow
    threads: dict[int, ThreadRow]
    others: list[GilRow]

@final
@type_check_only
class GilRow:
    """One GIL in a window. Times are in nanoseconds; `metered_ns` is the length of the window."""

    @property
    def interpreter(self) -> int: ...
    @property
    def metered(self) -> bool: ...
    @property
    def metered_ns(self) -> int: ...
    @property
    def held_ns(self) -> int: ...

@final
@type_check_only
class ThreadRow:
    """One thread in a window. Times are in nanoseconds."""

    @property
    def held_ns(self) -> int: ...
    @property
    def waited_ns(self) -> int: ...
    @property
    def acquisitions(self) -> int: ...
    @property
    def voluntary_releases(self) -> int: ...
    @property
    def forced_drops(self) -> int: ...
    @property
    def longest_hold_ns(self) -> int: ...
    @property
    def longest_wait_ns(self) -> int: ...
