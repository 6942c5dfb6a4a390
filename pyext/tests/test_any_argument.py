"""Passes any object as the number of seconds (hypothesis): expects a count, or the error that CPython's conversion
implies.

Durations long enough to slow the tests down are left out.
"""

import math
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import busy
import pytest
from hypothesis import configuration, example, given, settings
from hypothesis import strategies as st

# The folder is under build/, since hypothesis by default creates it beside the sources.
configuration.set_hypothesis_home_dir(Path(__file__).parents[2] / "build/hypothesis")

# In seconds: the longest wait that the tests make, and the first duration that is refused.
SHORT = 1e-5
TOO_LONG = 9223372036.854776


class Odd:
    """An object whose __float__ or __index__, if it has one, returns `result`, or raises it."""

    def __init__(self, result):
        self.result = result

    def __repr__(self):
        return f"{type(self).__name__}({self.result!r})"

    def answer(self):
        if isinstance(self.result, BaseException):
            raise self.result
        return self.result


class OddFloat(Odd):
    __float__ = Odd.answer


class OddIndex(Odd):
    __index__ = Odd.answer


class OddBoth(Odd):
    __float__ = Odd.answer

    def __index__(self):
        raise AssertionError("__index__ was called although there is __float__")


class NoFloat(Odd):
    __float__ = None
    __index__ = Odd.answer


class OwnFloat(float):
    pass


class OwnInt(int):
    pass


class Reentrant(Odd):
    """Calls both functions from its __float__."""

    def __float__(self):
        return float(busy.without_lock(0)) + busy.with_lock(self.result)


def is_quick(number):
    """Returns true if a call with `number` seconds takes almost no time: the number is small, or refused."""
    return not SHORT < number < TOO_LONG


floats = st.one_of(
    st.floats(max_value=SHORT),
    st.floats(min_value=TOO_LONG),
    st.sampled_from([math.nan, -0.0, 5e-324, -5e-324, TOO_LONG]),
)
ints = st.integers().filter(is_quick) | st.integers(min_value=10**308, max_value=10**400).map(
    lambda n: n * 10
)
fractions = st.fractions().filter(is_quick) | st.fractions(min_value=0, max_value=Fraction(SHORT))
decimals = st.decimals(allow_nan=False).filter(is_quick) | st.sampled_from([Decimal("NaN"), Decimal("sNaN")])
numbers = floats | ints | st.booleans().filter(lambda value: not value) | fractions | decimals
errors = st.sampled_from([RuntimeError, TypeError, ValueError, OverflowError, KeyError, KeyboardInterrupt])
others = st.one_of(
    st.none(),
    st.text(),
    st.binary(),
    st.complex_numbers(),
    st.lists(st.floats()),
    st.just(float),
    st.just(...),
)
results = numbers | others | errors.map(lambda error: error("own"))
odd = st.builds(
    lambda kind, result: kind(result),
    st.sampled_from([Odd, OddFloat, OddIndex, OddBoth, NoFloat]),
    results,
)
objects = (
    numbers
    | others
    | odd
    | floats.map(OwnFloat)
    | ints.map(OwnInt)
    | floats.map(OwnFloat).map(OddFloat)
    | st.sampled_from([Reentrant(0), Reentrant(-1), Reentrant("1")])
)


def expected(seconds):
    """Returns the type of the error that `seconds` should raise according to CPython's conversion to a C double
    (PyFloat_AsDouble), or None."""
    try:
        value = math.ldexp(seconds, 0)
    except BaseException as error:
        # A number below the range of float is reported as negative, not as too large.
        if type(error) is OverflowError and isinstance(seconds, (int, Fraction)) and seconds < 0:
            return ValueError
        return type(error)
    if math.isnan(value) or math.isinf(value) or value < 0:
        return ValueError
    return OverflowError if value >= TOO_LONG else None


@pytest.mark.parametrize("function", [busy.with_lock, busy.without_lock])
@settings(max_examples=300, deadline=None, database=None)
@given(seconds=objects)
@example(seconds=OddIndex(10**400))
@example(seconds=Fraction(-(10**400)))
def test_any_object_is_accepted_or_refused_as_cpython_converts_it(function, seconds):
    error = expected(seconds)
    try:
        count = function(seconds)
    except BaseException as found:
        assert error is not None, f"refused: {found!r}"
        assert type(found) is error, f"expected {error.__name__}, found {found!r}"
        # An exception that the object itself raised propagates, or becomes the cause.
        if type(seconds) not in (Odd, NoFloat) and isinstance(
            getattr(seconds, "result", None), BaseException
        ):
            assert seconds.result in (found, found.__cause__)
    else:
        assert error is None, f"accepted, expected {error.__name__}"
        assert type(count) is int and count >= 0
