"""Windows of the GIL meter, as `_watch`, `_check` and `_probe` use them."""

import os
import weakref
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

from busy._busy import gil_close, gil_close_orphan, gil_histograms, gil_open, gil_read, gil_rows, own_times
from busy._refusal import NotMetered

_Found = TypeVar("_Found")


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


class Histograms(NamedTuple):
    """How many holds of the GIL, and how many waits for it, had which length. The three tuples are equally long."""

    #: The lengths in seconds below which the holds and waits are counted: each twice the one before; the last is
    #: infinity. Each hold and wait counts once.
    below_s: tuple[float, ...]
    #: The number of holds that have ended.
    holds: tuple[int, ...]
    #: The number of waits that have ended.
    waits: tuple[int, ...]

    def to_dict(self) -> dict[str, list[float | int | None]]:
        """Returns the counts as a dict that json can serialize. The last length is None."""
        return {"below_s": [*self.below_s[:-1], None], "holds": [*self.holds], "waits": [*self.waits]}


class ThreadTimes(NamedTuple):
    """The times of the calling thread, in seconds."""

    #: The time that it has held the GIL.
    held_s: float
    #: The time that it has waited for the GIL.
    waited_s: float


Histograms.__module__ = ThreadTimes.__module__ = "busy"


def histograms(holds: Sequence[int], waits: Sequence[int]) -> Histograms:
    """Returns the counts of the meter with the lengths to which they belong."""
    below_s = [2**bucket / 1e6 for bucket in range(len(holds) - 1)]
    return Histograms((*below_s, float("inf")), tuple(holds), tuple(waits))


def thread_times() -> ThreadTimes:
    """Returns how long the calling thread has held the GIL and waited for it, exactly. The difference of two calls is
    the cost of the code between them, for example of a request to a web service:

    >>> before = busy.thread_times()
    >>> work()
    >>> after = busy.thread_times()
    >>> after.held_s - before.held_s, after.waited_s - before.waited_s

    The times begin when the metering begins: with the first call in the process, or earlier, with a watch or a
    recording. From the first call on, the metering goes on until the process ends. In a forked child, the times begin
    at the fork. A call takes less than a microsecond.

    Raises GilNotMeterable, a RuntimeError, if the GIL cannot be metered.
    """
    try:
        held_ns, waited_ns = own_times()
    except RuntimeError as reason:
        raise GilNotMeterable(str(reason)) from None
    return ThreadTimes(held_ns / 1e9, waited_ns / 1e9)


class GilWindow:
    """Meters the GIL until `close()`, or until it is deallocated, with a longest hold and wait of its own. A forked
    child has the windows that its first thread had opened."""

    _is_orphan = False

    def __init__(self, histograms: bool = False) -> None:
        try:
            self._opened = gil_open(histograms)
        except RuntimeError as reason:
            raise GilNotMeterable(str(reason)) from None
        _windows.add(self)

    def read(self) -> Reading:
        """Returns the totals since the window was opened; in a forked child, since the fork."""
        own, capsule, others = self._found(gil_read)
        rows: list[ThreadRow] = []
        while piece := gil_rows(capsule, len(rows)):
            rows += map(ThreadRow._make, piece)
        return Reading(GilRow(*own), rows, [GilRow(*other) for other in others])

    def histograms(self) -> Histograms:
        """Returns the histograms since the window was opened with them."""
        return histograms(*self._found(gil_histograms))

    def _found(self, read: Callable[[object], _Found]) -> _Found:
        if self._is_orphan:
            raise GilNotMeterable("a thread of the parent process opened this window: open another one")
        try:
            return read(self._opened)
        except RuntimeError as reason:
            raise GilNotMeterable(str(reason)) from None

    def close(self) -> None:
        """Closes the window. Closing the last window of the process stops the meter."""
        gil_close(self._opened)
        _windows.discard(self)

    def _close_orphan(self) -> None:
        if gil_close_orphan(self._opened):
            self._is_orphan = True
            _windows.discard(self)


# The open ones.
_windows: weakref.WeakSet[GilWindow] = weakref.WeakSet()


def _close_orphans() -> None:
    """Closes the windows of threads that a forked child does not have. The frames of these threads refer to them, so
    they would keep the meter on until the child ends."""
    for window in tuple(_windows):
        window._close_orphan()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_orphans)
