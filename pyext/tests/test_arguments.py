"""The objects that are accepted as a number of seconds, and the errors for all others."""

import math
import sys
from decimal import Decimal
from fractions import Fraction

import pytest


class HasFloat:
    def __init__(self, value):
        self.value = value

    def __float__(self):
        if isinstance(self.value, Exception):
            raise self.value
        return self.value


class HasIndex:
    def __index__(self):
        return 0


class OwnFloat(float):
    pass


@pytest.mark.parametrize(
    "seconds",
    [
        0,
        0.0,
        -0.0,
        False,
        0.001,
        Fraction(1, 1000),
        Decimal("0.001"),
        OwnFloat(0.001),
        HasFloat(0.001),
        HasIndex(),
        5e-324,
    ],
    ids=repr,
)
def test_any_real_number_of_seconds_is_accepted(wait, seconds):
    assert type(wait(seconds)) is int


@pytest.mark.parametrize(
    ("seconds", "error", "message"),
    [
        (-1, ValueError, "expected zero or more seconds, found -1.0"),
        (-1e-300, ValueError, "expected zero or more seconds, found -1e-300"),
        (Fraction(-1, 2), ValueError, "expected zero or more seconds, found -0.5"),
        (-math.inf, ValueError, "expected zero or more seconds, found -inf"),
        (-(10**400), ValueError, "expected zero or more seconds, found a number below the range of float"),
        (math.inf, ValueError, "expected a finite number of seconds, found inf"),
        (math.nan, ValueError, "expected a finite number of seconds, found NaN"),
        (Decimal("NaN"), ValueError, "expected a finite number of seconds, found NaN"),
        (9223372037, OverflowError, "expected at most 9223372036 seconds (292 years), found 9223372037.0"),
        (1e300, OverflowError, "expected at most 9223372036 seconds (292 years), found 1e300"),
        (
            10**400,
            OverflowError,
            "expected at most 9223372036 seconds (292 years), found a number above the range of float",
        ),
        ("1", TypeError, "expected a real number of seconds, such as 0.5, found str"),
        (None, TypeError, "expected a real number of seconds, such as 0.5, found NoneType"),
        (1j, TypeError, "expected a real number of seconds, such as 0.5, found complex"),
        ([1], TypeError, "expected a real number of seconds, such as 0.5, found list"),
        (HasFloat("1"), TypeError, "expected a real number of seconds, such as 0.5, found HasFloat"),
    ],
)
def test_other_objects_are_refused_with_the_expected_and_the_found_value(wait, seconds, error, message):
    with pytest.raises(error) as caught:
        wait(seconds)
    assert type(caught.value) is error
    assert str(caught.value) == message


def test_an_exception_of_the_number_itself_is_kept(wait):
    error = RuntimeError("from __float__")
    with pytest.raises(RuntimeError) as caught:
        wait(HasFloat(error))
    assert caught.value is error

    error = TypeError("from __float__")
    with pytest.raises(TypeError, match="expected a real number") as caught:
        wait(HasFloat(error))
    assert caught.value.__cause__ is error


def test_an_object_whose_type_name_cannot_be_read_is_refused_too(wait):
    def unreadable(_):
        raise RuntimeError("from __name__")

    for name in (property(unreadable), 7):
        nameless = type("Meta", (type,), {"__name__": name})("Nameless", (), {})()
        with pytest.raises(TypeError, match=r"such as 0\.5, found \?$"):
            wait(nameless)


@pytest.mark.parametrize(
    "seconds", [0, Fraction(0), -1, math.nan, 1e300, 10**400, "1", None, HasFloat("1")], ids=repr
)
def test_no_call_leaks_objects(wait, seconds):
    def blocks_after_calls():
        for _ in range(1000):
            try:
                wait(seconds)
            except (ArithmeticError, TypeError, ValueError):
                pass
        return sys.getallocatedblocks()

    blocks_after_calls()
    before = blocks_after_calls()
    assert blocks_after_calls() - before < 100


def test_takes_one_argument_by_position_only(wait, name):
    for arguments, keywords in [((), {}), ((0, 0), {}), ((), {"seconds": 0})]:
        with pytest.raises(TypeError, match=name):
            wait(*arguments, **keywords)
    assert wait.__text_signature__ == "(seconds, /)"
