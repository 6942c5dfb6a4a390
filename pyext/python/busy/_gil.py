"""Windows of the GIL meter, as `_watch`, `_check` and `_probe` use them."""

from typing import NamedTuple

from busy._busy import gil_close, gil_open, gil_read
from busy._refusal import NotMetered


class GilNotMeterable(NotMetered):
    """The GIL of this process cannot be metered; the message gives the reason and what to do."""


GilNotMeterable.__module__ = "busy"


class GilRow(NamedTuple):
    """One GIL in a window. Times are in nanoseconds; `metered_ns` is the length of the window."""

    interpreter: int
    metered: bool
    metered_ns: int
    held_ns: int


class ThreadRow(NamedTuple):
    """One thread in a window. Times are in nanoseconds."""

    held_ns: int
    waited_ns: int
    acquisitions: int
    voluntary_releases: int
    forced_drops: int
    longest_hold_ns: int
    longest_wait_ns: int

    def plus(self, other: "ThreadRow") -> "ThreadRow":
        """Returns the figures of two threads that had the same id, one after the other."""
        sums = [mine + theirs for mine, theirs in zip(self, other, strict=True)]
        longest = [max(mine, theirs) for mine, theirs in zip(self[-2:], other[-2:], strict=True)]
        return ThreadRow(*sums[:-2], *longest)


class Reading(NamedTuple):
    """The totals of a window."""

    gil: GilRow
    #: The threads that held the GIL or waited for it since the meter started, by native thread id.
    threads: dict[int, ThreadRow]
    #: The GILs of other interpreters.
    others: list[GilRow]


class GilWindow:
    """Meters the GIL until `close()`, or until it is deallocated, with a longest hold and wait of its own."""

    def __init__(self) -> None:
        try:
            self._opened = gil_open()
        except RuntimeError as reason:
            raise GilNotMeterable(str(reason)) from None

    def read(self) -> Reading:
        """Returns the totals since the window was opened; in a forked child, since the fork."""
        try:
            own, threads, others = gil_read(self._opened)
        except RuntimeError as reason:
            raise GilNotMeterable(str(reason)) from None
        rows: dict[int, ThreadRow] = {}
        for tid, *figures in threads:
            row = ThreadRow(*figures)
            rows[tid] = rows[tid].plus(row) if tid in rows else row
        return Reading(GilRow(*own), rows, [GilRow(*other) for other in others])

    def close(self) -> None:
        """Closes the window. Closing the last window of the process stops the meter."""
        gil_close(self._opened)
