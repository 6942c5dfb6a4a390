"""`busy.check`: does a call release the GIL? Runs the passes of `_verdict` over the meter of the compiled module."""

import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from busy import _samples, _units, _verdict
from busy._gil import GilWindow, ThreadRow


@dataclass(frozen=True, repr=False)
class Verdict:
    """How a call uses the GIL. Times are in seconds; a figure that could not be measured is None.

    `releases` does not mean thread-safe: code that runs without the GIL must protect its own data.
    """

    #: releases, partly, yields, holds, no-gil or inconclusive.
    verdict: str
    #: The share of the call during which the calling thread holds the GIL, from 0 to 1.
    held_share: float | None
    #: The longest uninterrupted hold in one call.
    longest_hold_s: float | None
    #: The longest time that one call made another thread wait for the GIL.
    longest_stall_s: float | None
    #: The lower bounds of held_share, longest_hold_s and longest_stall_s, by name, if other processes may have made
    #: them larger, however little. The attribute is then an upper bound.
    lower_bounds: dict[str, float]
    #: The number of calls that the check made.
    calls: int
    #: True if the verdict is inconclusive because of other processes: try again on a quieter machine.
    disturbed: bool
    #: An explanation, if the verdict alone is not enough; otherwise None.
    reason: str | None

    def to_dict(self) -> dict[str, Any]:
        """Returns the attributes as a dict that json can serialize."""
        return asdict(self)

    def __str__(self) -> str:
        figures = []
        if self.held_share is not None:
            is_bound = _samples.shares_differ(
                self.held_share, self.lower_bounds.get("held_share", self.held_share)
            )
            at_most = "at most " if is_bound else ""
            figures.append(f"holds the GIL for {at_most}{_units.percent(self.held_share)} of its time")
        for name, key in (("longest hold", "longest_hold_s"), ("longest stall of others", "longest_stall_s")):
            seconds = getattr(self, key)
            if seconds is not None:
                is_bound = _samples.differ(seconds, self.lower_bounds.get(key, seconds))
                at_most = "at most " if is_bound else ""
                figures.append(f"{name} {at_most}{_units.duration(seconds)}")
        figures.append(f"{self.calls} call{'' if self.calls == 1 else 's'}")
        reason = f" ({self.reason})" if self.reason else ""
        return f"{self.verdict}: {', '.join(figures)}{reason}"

    def __repr__(self) -> str:
        return f"<busy.Verdict {self}>"


def check(function: Callable[..., object], /, *args: Any, **kwargs: Any) -> Verdict:
    """Calls `function(*args, **kwargs)` several times and reports whether it releases the GIL.

    >>> busy.check(hashlib.sha256, bytes(50_000_000)).verdict
    'releases'

    The verdict is `no-gil` if no GIL is in force. It is `inconclusive` if a call takes less than 2 us; if it takes less
    than 0.3 ms, holds the GIL, and runs Python code (pass a native function with its arguments instead of a lambda) or
    releases the GIL for a moment; if the GIL cannot be metered; or if other processes disturbed the check (`disturbed`
    is True then). An exception of the function propagates. Only one
    check runs at a time in a process: threads that check at the same time take turns, in the order of their arrival.
    During a check the switch interval is changed and the garbage collector is off; both are restored, also in a child
    that is forked during the check.

    Raises TypeError if calling the function does not run it: for a coroutine function or a generator function, and for
    a function that returns a coroutine or a generator. Raises RuntimeError inside a function that is being checked.
    """
    return Verdict(**_verdict.verdict(_Meter(), function, args, kwargs))


class _Meter:
    """The meter of the compiled module, with the interface of `_ctypes_meter.Meter`."""

    def __init__(self) -> None:
        # The window that is open from start to stop.
        self._whole: list[_Window] = []

    def start(self) -> None:
        self._whole.append(_Window())

    def stop(self) -> None:
        # Empty if Ctrl-C interrupted the start.
        while self._whole:
            self._whole.pop().close()

    def snapshot(self) -> tuple[int, dict[int, ThreadRow]]:
        return self._whole[0].read()

    def window(self) -> "_Window":
        return _Window()

    def tid(self) -> int:
        return threading.get_native_id()


class _Window:
    def __init__(self) -> None:
        self._window = GilWindow()
        self.close = self._window.close

    def read(self) -> tuple[int, dict[int, ThreadRow]]:
        reading = self._window.read()
        return reading.gil.metered_ns, {row.tid: row for row in reading.rows}
