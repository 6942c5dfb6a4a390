from typing import Final, SupportsFloat, SupportsIndex, TypedDict, final, type_check_only

__all__ = [
    "__version__",
    "cpu_clocks",
    "gil_not_meterable",
    "gil_window",
    "with_lock",
    "without_lock",
]

__version__: Final[str]

def with_lock(seconds: SupportsFloat | SupportsIndex, /) -> int:
    """Spin for `seconds`, never less, with the GIL held, and return the number of clock polls."""

def without_lock(seconds: SupportsFloat | SupportsIndex, /) -> int:
    """Spin for `seconds`, never less, with the GIL released, and return the number of clock polls."""

def gil_not_meterable() -> type[GilNotMeterable]:
    """The exception, made when it is first asked for."""

def gil_window() -> GilWindow:
    """Opens one."""

@type_check_only
class GilNotMeterable(RuntimeError):
    """The GIL of this process can't be metered; the message says why, and what to do."""

def cpu_clocks() -> dict[int, int]:
    """CPU time of each living thread of this process, in nanoseconds, by native thread id. Empty without /proc."""

@final
@type_check_only
class GilWindow:
    """The GIL's metering from here until `close()`, or until it is given up, with its own longest hold and wait."""

    def read(self) -> _Reading:
        """What happened so far; in a forked child, since the fork."""

    def close(self) -> None:
        """Ends it. With the last window of the process the metering ends."""

@type_check_only
class _Reading(TypedDict):
    gil: GilRow
    threads: dict[int, ThreadRow]
    others: list[GilRow]

@final
@type_check_only
class GilRow:
    """One GIL in a window. Times in nanoseconds; `metered_ns` is the window's length."""

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
    """One thread in a window. Times in nanoseconds."""

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
