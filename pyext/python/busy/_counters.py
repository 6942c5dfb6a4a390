"""`busy.counters`: how long all threads together have held the GIL and waited for it, since the first call."""

import logging
import struct
from typing import Any

from busy._busy import counters_begin, counters_read
from busy._gil import GilNotMeterable, Histograms, histograms

_COUNTS = struct.Struct("=26Q26Q")
# An interpreter takes far longer to begin than a reading, so few readings are repeated more than once.
_READINGS = 20


# The sums of one GIL since the session began, as counters_read() returns them: a tuple, and what stands where in it. A
# reading makes nothing else of it, since a service may be read often.
_Sums = tuple[Any, ...]
(
    _SESSION,
    _GILS,
    _INTERPRETER,
    _METERED,
    _METERED_NS,
    _HELD_NS,
    _WAITED_NS,
    _ACQUISITIONS,
    _DROPS,
    _HISTOGRAMS,
) = range(10)


class Counters:
    """The sums over all threads with one GIL. No figure ever falls from one call of busy.counters() to the next."""

    __slots__ = ("_now", "_base", "others")

    #: The counters of the GILs of other interpreters, by interpreter id (CPython 3.12 and later). None for a GIL that
    #: could not be metered, because it was held, or idle, all the time. The counters of an interpreter that has ended
    #: are gone.
    others: "dict[int, Counters | None]"

    def __init__(self, now: _Sums, base: _Sums | None, others: "dict[int, Counters | None]") -> None:
        self._now, self._base, self.others = now, base, others

    def _since(self, place: int) -> int:
        """Returns a sum since the first call. Not below zero: another thread may have read the base after `now`, in the
        first call."""
        now: int = self._now[place]
        return max(0, now - self._base[place]) if self._base else now

    @property
    def metered_s(self) -> float:
        """The time since the first call of busy.counters(); in a forked child, since the fork."""
        # Each sum was rounded separately, so the held time could exceed the metered time by a nanosecond.
        return max(self._since(_HELD_NS), self._since(_METERED_NS)) / 1e9

    @property
    def held_s(self) -> float:
        """The time that any thread held the GIL. A hold that is going on counts up to now."""
        return self._since(_HELD_NS) / 1e9

    @property
    def waited_s(self) -> float:
        """The time that threads waited for the GIL, summed over all threads. A wait that goes on counts up to now."""
        return self._since(_WAITED_NS) / 1e9

    @property
    def acquisitions(self) -> int:
        """How many times a thread acquired the GIL."""
        return self._since(_ACQUISITIONS)

    @property
    def forced_drops(self) -> int:
        """How many times a thread dropped the GIL because another one requested it."""
        return self._since(_DROPS)

    @property
    def histograms(self) -> Histograms:
        """How many holds of the GIL, and how many waits for it, had which length. Each counts when it ends."""
        counts = _COUNTS.unpack(self._now[_HISTOGRAMS])
        if self._base:
            before = _COUNTS.unpack(self._base[_HISTOGRAMS])
            counts = tuple(max(0, now - base) for now, base in zip(counts, before, strict=True))
        return histograms(counts[: len(counts) // 2], counts[len(counts) // 2 :])

    def to_dict(self) -> dict[str, Any]:
        """Returns the figures as a dict that json can serialize."""
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
    """Returns how long all threads together have held the GIL and waited for it, and how often, since the first call.

    >>> before = busy.counters()
    >>> work()
    >>> after = busy.counters()
    >>> after.held_s - before.held_s, after.waited_s - before.waited_s

    The first call in the process starts the metering, which goes on until the process ends, and returns zeros. No
    figure ever falls, in any thread. In a forked child, all figures begin at the fork. A call takes one to three
    microseconds, however many threads there are, and costs the other threads nothing.

    The attributes are those of the GIL of the calling interpreter; `others` has those of interpreters with a GIL of
    their own.

    Raises GilNotMeterable, a RuntimeError, if the GIL cannot be metered.
    """
    try:
        if not _first:
            counters_begin()
            _first.setdefault(None, _read())
        own = _own()
        others = _read() if own[_GILS] > 1 else {}
    except RuntimeError as reason:
        raise GilNotMeterable(str(reason)) from None
    return Counters(
        own,
        _base(own),
        {
            interpreter: Counters(other, _base(other), {}) if other[_METERED] else None
            for interpreter, other in others.items()
            if interpreter != own[_INTERPRETER]
        },
    )


def by_interpreter(log: logging.Logger) -> dict[int, Counters]:
    """Returns the counters of each GIL by the id of its interpreter, 0 for that of the caller. None of them if the GIL
    can no longer be metered, which is logged once."""
    try:
        own = counters()
    except GilNotMeterable as reason:
        if log.name not in _refused:
            _refused.add(log.name)
            log.warning("there are no more metrics of the GIL: %s", reason)
        return {}
    return {0: own, **{interpreter: other for interpreter, other in own.others.items() if other}}


#: The names of the loggers that have logged that.
_refused: set[str] = set()


def _own() -> _Sums:
    """Returns the sums of the caller's GIL."""
    return counters_read(0)  # type: ignore[return-value] # it is always there


def _read() -> dict[int, _Sums]:
    """Returns the sums of all GILs, by interpreter.

    An interpreter that begins or ends between two calls moves the others to other indexes. So they are read until two
    readings in a row have the same ones. As no id is used again, all of these existed between the two readings; and as
    there were as many, no other one did.
    """
    before: dict[int, _Sums] = {}
    for _ in range(_READINGS):
        own = _own()
        found = [own, *(counters_read(index) for index in range(1, own[_GILS]))]
        now = {sums[_INTERPRETER]: sums for sums in found if sums}
        if own[_GILS] == 1 or (len(now) == len(found) and now.keys() == before.keys()):
            return now
        before = now
    return before


def _base(sums: _Sums) -> _Sums | None:
    """Returns the sums at the first call. None for a GIL that did not exist then, and in a forked child, where the
    meter begins a new session."""
    base = _first[None].get(sums[_INTERPRETER])
    return base if base and base[_SESSION] == sums[_SESSION] else None
