"""Windows of the GIL meter, as `_watch`, `_check` and `_probe` use them."""

from typing import NamedTuple

from busy._busy import gil_close, gil_open, gil_read, gil_rows
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
    """One thread in a window. Times are in nanoseconds. The row with the id 0 is the sum of ended threads that have no
    row of their own any more. The system may give the `tid` of an ended thread to another one."""

    id: int
    tid: int
    ended: bool
    #: True if the thread's first event was in this window.
    is_new: bool
    held_ns: int
    waited_ns: int
    acquisitions: int
    voluntary_releases: int
    forced_drops: int
    longest_hold_ns: int
    longest_wait_ns: int


class Reading(NamedTuple):
    """The totals of a window."""

    gil: GilRow
    #: The threads that held the GIL or waited for it, by rising id.
    rows: list[ThreadRow]
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
            own, capsule, others = gil_read(self._opened)
        except RuntimeError as reason:
            raise GilNotMeterable(str(reason)) from None
        rows: list[ThreadRow] = []
        while piece := gil_rows(capsule, len(rows)):
            rows += map(ThreadRow._make, piece)
        return Reading(GilRow(*own), rows, [GilRow(*other) for other in others])

    def close(self) -> None:
        """Closes the window. Closing the last window of the process stops the meter."""
        gil_close(self._opened)
