"""The bounds that a test sets: `max_stall`, such as "20ms", and `max_held`, such as "30%". And other arguments that are
times."""

import math
import re
import threading
from collections.abc import Callable

from busy import _units

#: An upper and a lower bound.
Pair = tuple[float, float]

# Both letters, the micro sign and the Greek one, are in use.
_UNITS = {
    "ns": 1e-9,
    "us": 1e-6,
    "\u00b5s": 1e-6,
    "\u03bcs": 1e-6,
    "ms": 1e-3,
    "s": 1.0,
    "min": 60.0,
    "h": 3600.0,
}
_NUMBER = r"([0-9]+(?:\.[0-9]+)?)"
_TIME = re.compile(_NUMBER + r"(?: ?(" + "|".join(_UNITS) + "))?", re.ASCII)
_PERCENTAGE = re.compile(_NUMBER + r" ?%", re.ASCII)


class Bounds:
    """The arguments of the marker `gil` and of assert_releases_gil. A bound that is None is not checked."""

    def __init__(self, max_stall: object = None, max_held: object = None) -> None:
        self.max_stall_s: float | None = None if max_stall is None else parse_seconds(max_stall, "max_stall")
        self.max_held: float | None = None if max_held is None else parse_share(max_held, "max_held")

    def __bool__(self) -> bool:
        return self.max_stall_s is not None or self.max_held is not None

    def broken(self, stall: "Pair | None", held: "Pair | None") -> list[str]:
        """Describes each bound that the values break for certain. A pair is the upper and the lower bound of a value; a
        value of None breaks its bound."""
        return self._beyond(stall, held, 1)

    def undecided(self, stall: "Pair | None", held: "Pair | None") -> list[str]:
        """Describes each bound that the values may break, but not for certain, because of other processes."""
        return [] if self.broken(stall, held) else self._beyond(stall, held, 0)

    def _beyond(self, stall: "Pair | None", held: "Pair | None", side: int) -> list[str]:
        beyond = []
        if self.max_stall_s is not None and (stall is None or stall[side] > self.max_stall_s):
            beyond.append(f"a longest stall of at most {_units.duration(self.max_stall_s)}")
        if self.max_held is not None and (held is None or held[side] > self.max_held):
            beyond.append(f"the GIL held for at most {_units.percent(self.max_held)} of the time")
        return beyond

    def found(self, stall: "Pair", held: "Pair", holder: str = "the test's threads") -> str:
        """Describes the values that have a bound."""
        parts = []
        if self.max_stall_s is not None:
            parts.append(f"a longest stall {_between('of', stall, _units.duration)}")
        if self.max_held is not None:
            parts.append(f"the GIL held by {holder} {_between('for', held, _units.percent)} of the time")
        return " and ".join(parts)

    def tighter(self, other: "Bounds") -> "Bounds":
        """Returns the tighter of each bound."""
        both = Bounds()
        for name in ("max_stall_s", "max_held"):
            values = [value for value in (getattr(self, name), getattr(other, name)) if value is not None]
            setattr(both, name, min(values, default=None))
        return both


def _between(preposition: str, pair: "Pair", text: Callable[[float], str]) -> str:
    upper, lower = map(text, pair)
    return f"{preposition} {upper}" if lower == upper else f"{preposition} between {lower} and {upper}"


def parse_seconds(value: object, name: str) -> float:
    """Returns the seconds of a time such as "20ms", "1.5s" or "2 min", or of a number of seconds ("20", 0.02). Errors
    begin with `name`."""
    if isinstance(value, str):
        found = _TIME.fullmatch(value)
        if not found:
            raise ValueError(f'{name}: expected a time such as "20ms", "1.5s" or 0.02, found {value!r}')
        return float(found[1]) * _UNITS[found[2] or "s"]
    number = _number(value, f'{name}: expected a time such as "20ms", "1.5s" or 0.02')
    if not 0 <= number < math.inf:
        raise ValueError(f"{name}: expected a finite number of seconds, zero or more, found {value!r}")
    return number


def parse_threshold(value: object, least: str) -> float:
    """Returns the seconds of a threshold: at least the time `least`, and less than 1e9 seconds."""
    seconds = parse_seconds(value, "threshold")
    if not parse_seconds(least, "least") <= seconds < 1e9:
        raise ValueError(f"threshold: expected at least {least} and less than 1e9 seconds, found {value!r}")
    return seconds


def parse_period(value: object, name: str) -> float:
    """Returns a number of seconds for which a thread can wait. Errors begin with `name`."""
    expected = f"{name}: expected a number of seconds, more than 0 and at most {threading.TIMEOUT_MAX:.0f}"
    number = _number(value, expected)
    if not 0 < number <= threading.TIMEOUT_MAX:
        raise ValueError(f"{expected}, found {value!r}")
    return number


def parse_share(value: object, name: str) -> float:
    """Returns the share, from 0 to 1, of "30%" or 0.3. Errors begin with `name`."""
    if isinstance(value, str):
        found = _PERCENTAGE.fullmatch(value)
        if not found:
            raise ValueError(f'{name}: expected a share such as "30%" or 0.3, found {value!r}')
        number = float(found[1]) / 100
    else:
        number = _number(value, f'{name}: expected a share such as "30%" or 0.3')
    if not 0 <= number <= 1:
        raise ValueError(f"{name}: expected a share from 0 to 1, or from 0% to 100%, found {value!r}")
    return number


def _number(value: object, expected: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{expected}, found {value!r}")
    try:
        return float(value)
    except OverflowError:
        return math.inf
