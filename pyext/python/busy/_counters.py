"""`busy.counters`: how long all threads together have held the GIL and waited for it, since the first call."""

import struct
from typing import Any, NamedTuple

from busy._busy import counters_begin, counters_read
from busy._gil import GilNotMeterable, Histograms, histograms

_COUNTS = struct.Struct("=26Q26Q")


class _Sums(NamedTuple):
    """The sums of one GIL since the session began, as counters_read() returns them."""

    session: int
    gils: int
    interpreter: int
    metered: bool
    metered_ns: int
    held_ns: int
    waited_ns: int
    acquisitions: int
    forced_drops: int
    histograms: bytes


class Counters:
    """The sums over all threads with one GIL. No figure ever falls from one call of busy.counters() to the next."""

    __slots__ = ("metered_s", "held_s", "waited_s", "acquisitions", "forced_drops", "others", "_now", "_base")

    #: The time since the first call of busy.counters(); in a forked child, since the fork.
    metered_s: float
    #: The time that any thread held the GIL. A hold that is going on counts up to now.
    held_s: float
    #: The time that threads waited for the GIL, summed over all threads. A wait that is going on counts up to now.
    waited_s: float
    #: How many times a thread acquired the GIL.
    acquisitions: int
    #: How many times a thread dropped the GIL because another one requested it.
    forced_drops: int
    #: The counters of the GILs of other interpreters, by interpreter id (CPython 3.12 and later). None for a GIL that
    #: could not be metered, because it was held, or idle, all the time. The counters of an interpreter that has ended
    #: are gone.
    others: "dict[int, Counters | None]"

    def __init__(self, now: _Sums, base: _Sums | None, others: "dict[int, Counters | None]") -> None:
        self._now, self._base = now.histograms, base.histograms if base else None
        metered_ns, held_ns, waited_ns = now.metered_ns, now.held_ns, now.waited_ns
        acquisitions, forced_drops = now.acquisitions, now.forced_drops
        if base:
            # Not below zero: another thread may have read the base after `now`, in the first call.
            held_ns = max(0, held_ns - base.held_ns)
            # Each sum was rounded separately, so the held time could exceed the metered time by a nanosecond.
            metered_ns = max(held_ns, metered_ns - base.metered_ns)
            waited_ns = max(0, waited_ns - base.waited_ns)
            acquisitions = max(0, acquisitions - base.acquisitions)
            forced_drops = max(0, forced_drops - base.forced_drops)
        self.metered_s, self.held_s, self.waited_s = metered_ns / 1e9, held_ns / 1e9, waited_ns / 1e9
        self.acquisitions, self.forced_drops, self.others = acquisitions, forced_drops, others

    @property
    def histograms(self) -> Histograms:
        """How many holds of the GIL, and how many waits for it, had which length. Each counts when it ends."""
        counts = _COUNTS.unpack(self._now)
        if self._base:
            counts = tuple(
                max(0, now - base) for now, base in zip(counts, _COUNTS.unpack(self._base), strict=True)
            )
        return histograms(counts[: len(counts) // 2], counts[len(counts) // 2 :])

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as a dict that json can serialize."""
        return {
            "metered_s": self.metered_s,
            "held_s": self.held_s,
            "waited_s": self.waited_s,
            "acquisitions": self.acquisitions,
            "forced_drops": self.forced_drops,
            "histograms": self.histograms.to_dict(),
            "others": [
                {"interpreter": interpreter, **(other.to_dict() if other else {"metered": False})}
                for interpreter, other in self.others.items()
            ],
        }

    def __repr__(self) -> str:
        return (
            f"<busy.Counters: held {self.held_s:.6f} s and waited {self.waited_s:.6f} s in {self.metered_s:.6f} s, "
            f"{self.acquisitions} acquisitions, {self.forced_drops} forced drops>"
        )


Counters.__module__ = "busy"

# The sums at the first call, by interpreter: set once, and never changed then, so that no lock is needed that a forked
# child could inherit.
_first: dict[None, dict[int, _Sums]] = {}


def counters() -> Counters:
    """Return how long all threads together have held the GIL and waited for it, and how often, since the first call.

    >>> before = busy.counters()
    >>> work()
    >>> after = busy.counters()
    >>> after.held_s - before.held_s, after.waited_s - before.waited_s

    The first call in the process starts the metering, which goes on until the process ends, and returns zeros. No
    figure ever falls, in any thread. In a forked child, all figures begin at the fork. A call takes some microseconds,
    however many threads there are, and costs the other threads nothing.

    The attributes are those of the GIL of the calling interpreter; `others` has those of interpreters with a GIL of
    their own.

    Raises GilNotMeterable, a RuntimeError, if the GIL cannot be metered.
    """
    try:
        if not _first:
            counters_begin()
            _first.setdefault(None, {sums.interpreter: sums for sums in _read()})
        own, *others = _read()
    except RuntimeError as reason:
        raise GilNotMeterable(str(reason)) from None
    return Counters(
        own,
        _base(own),
        {other.interpreter: Counters(other, _base(other), {}) if other.metered else None for other in others},
    )


def _read() -> list[_Sums]:
    """Returns the sums of all GILs, the caller's first."""
    found = [_Sums._make(counters_read(0))]  # type: ignore[arg-type] # the caller's GIL is always there
    for index in range(1, found[0].gils):
        sums = counters_read(index)
        if sums:
            found.append(_Sums._make(sums))
    return found


def _base(sums: _Sums) -> _Sums | None:
    """Returns the sums at the first call. None for a GIL that did not exist then, and in a forked child, where the
    meter begins a new session."""
    base = _first[None].get(sums.interpreter)
    return base if base and base.session == sums.session else None
