"""Times and shares as people write and read them: "20ms", "30%"."""

import math
import re

_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0}  # noqa: RUF001
_NUMBER_AND_UNIT = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?(ns|us|µs|μs|ms|s|min|%)", re.ASCII)  # noqa: RUF001


def seconds(value: object, what: str) -> float:
    """The seconds of "20ms", "1.5s", "2 min", or of a number of seconds. `what` is its name, for errors."""
    if isinstance(value, str):
        found = _NUMBER_AND_UNIT.fullmatch(value)
        if not found or found[2] == "%":
            raise ValueError(f'{what}: expected a time such as "20ms", "1.5s" or 0.02, found {value!r}')
        return float(found[1]) * _UNITS[found[2]]
    number = _number(value, f'{what}: expected a time such as "20ms", "1.5s" or 0.02')
    if not 0 <= number < math.inf:
        raise ValueError(f"{what}: expected zero or more seconds, and finitely many, found {value!r}")
    return number


def share(value: object, what: str) -> float:
    """The share, from 0 to 1, of "30%" or 0.3."""
    if isinstance(value, str):
        found = _NUMBER_AND_UNIT.fullmatch(value)
        if not found or found[2] != "%":
            raise ValueError(f'{what}: expected a share such as "30%" or 0.3, found {value!r}')
        number = float(found[1]) / 100
    else:
        number = _number(value, f'{what}: expected a share such as "30%" or 0.3')
    if not 0 <= number <= 1:
        raise ValueError(f"{what}: expected a share from 0 to 1, or from 0% to 100%, found {value!r}")
    return number


def _number(value: object, expected: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{expected}, found {value!r}")
    try:
        return float(value)
    except OverflowError:
        return math.inf


def percent(share: float) -> str:
    return f"{share * 100:.1f} %"


def time(seconds: float) -> str:
    for unit, name in ((1.0, "s"), (1e-3, "ms")):
        if seconds >= unit:
            return f"{seconds / unit:.3g} {name}"
    return f"{seconds * 1e6:.3g} µs"
