"""Durations as text."""

import pytest
from busy._units import duration


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (7e-9, "7 ns"),
        (342e-9, "342 ns"),
        (0.9996e-6, "1 us"),
        (0.0003, "300 us"),
        (0.00012345, "123 us"),
        (0.0009994, "999 us"),
        (0.0009996, "1 ms"),
        (0.011, "11 ms"),
        (0.0187, "18.7 ms"),
        (0.09996, "100 ms"),
        (0.9994, "999 ms"),
        (0.9996, "1 s"),
        (1.5, "1.5 s"),
        (12.345, "12.3 s"),
        (1234.5, "1234 s"),
    ],
)
def test_a_duration_has_three_digits_and_the_unit_that_fits(seconds, text):
    assert duration(seconds) == text
