"""`busy.check`: does a call release the GIL? The passes are `_verdict`'s, over the meter of the compiled module."""

import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from busy import _units, _verdict
from busy._busy import gil_window

if TYPE_CHECKING:
    from busy._busy import ThreadRow


@dataclass(frozen=True, repr=False)
class Verdict:
    """How a call stands to the GIL. Times in seconds; what could not be had is None.

    "Releases" says nothing about thread safety: what runs without the GIL has to look after itself.
    """

    #: releases, partly, yields, holds, no-gil or inconclusive.
    verdict: str
    #: The time that the calling thread holds the GIL, over that of the call, from 0 to 1.
    held_share: float | None
    longest_hold_s: float | None
    #: The longest that one call made another thread wait for the GIL.
    longest_stall_s: float | None
    #: How often the function was called to find that out.
    calls: int
    #: Why it is so, where there is more to say than the verdict.
    reason: str | None

    def to_dict(self) -> dict[str, Any]:
        """The attributes by name, fit for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        figures = []
        if self.held_share is not None:
            figures.append(f"holds the GIL for {_units.percent(self.held_share)} of its time")
        if self.longest_hold_s is not None:
            figures.append(f"longest hold {_units.time(self.longest_hold_s)}")
        if self.longest_stall_s is not None:
            figures.append(f"longest stall of others {_units.time(self.longest_stall_s)}")
        figures.append(f"{self.calls} call{'' if self.calls == 1 else 's'}")
        reason = f" ({self.reason})" if self.reason else ""
        return f"{self.verdict}: {', '.join(figures)}{reason}"

    def __repr__(self) -> str:
        return f"<busy.Verdict {self}>"


def check(function: Callable[..., object], /, *args: Any, **kwargs: Any) -> Verdict:
    """Call `function(*args, **kwargs)` some times and tell whether it releases the GIL.

    >>> busy.check(hashlib.sha256, bytes(50_000_000)).verdict
    'releases'

    Calls of less than 0.3 ms are `inconclusive`, and so is any where the GIL can't be metered. What the function raises
    comes through. Checks of one process take turns; meanwhile the switch interval is changed and the garbage collector
    off, and both are put back.

    Raises TypeError for what would not run by being called: a coroutine or generator function, or one that returns
    such.
    """
    return Verdict(**_verdict.verdict(_Meter(), function, args, kwargs))


class _Meter:
    """What `_verdict` asks of a meter; `_ctypes_meter.Meter` says what that is."""

    def __init__(self) -> None:
        self._since_start: list[_Window] = []

    def start(self) -> None:
        self._since_start.append(_Window())

    def stop(self) -> None:
        # Ctrl-C may have come before the start was done.
        while self._since_start:
            self._since_start.pop().close()

    def snapshot(self) -> "tuple[int, dict[int, ThreadRow]]":
        return self._since_start[0].read()

    def window(self) -> "_Window":
        return _Window()

    def tid(self) -> int:
        return threading.get_native_id()


class _Window:
    def __init__(self) -> None:
        self._window = gil_window()
        self.close = self._window.close

    def read(self) -> "tuple[int, dict[int, ThreadRow]]":
        reading = self._window.read()
        return reading["gil"].metered_ns, reading["threads"]
