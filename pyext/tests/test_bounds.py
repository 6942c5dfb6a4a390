"""The times and the shares that a test may set as bounds."""

import pytest
from busy._bounds import parse_seconds, parse_share


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        ("20ms", 0.02),
        ("1.5s", 1.5),
        ("300us", 0.0003),
        ("300µs", 0.0003),
        ("2 min", 120),
        ("7ns", 7e-9),
        ("1h", 3600),
        ("20", 20),
        ("0.5", 0.5),
        (0, 0),
        (0.5, 0.5),
    ],
)
def test_times_are_parsed(given, seconds):
    assert parse_seconds(given, "x") == pytest.approx(seconds, rel=1e-12)


@pytest.mark.parametrize(
    "given",
    [
        "",
        "20 ",
        "ms",
        "-1s",
        "+1s",
        "1e3s",
        "1,5s",
        ".5s",
        "1.s",
        " 1s",
        "1s ",
        "1  s",
        "1s\n",
        "١s",
        "20%",
        "1S",
    ]
    + [float("nan"), float("inf"), -1, 10**400, True, None, b"1s", 1j],
)
def test_other_times_are_refused_with_the_expected_form(given):
    with pytest.raises((TypeError, ValueError), match="^x: expected .*found "):
        parse_seconds(given, "x")


def test_shares_are_parsed_and_others_refused():
    assert [parse_share(given, "x") for given in ("30%", "0 %", "100%", 0.5, 1)] == [0.3, 0, 1, 0.5, 1]
    for given in ("30", "101%", "-1%", 1.01, -0.1, float("nan"), float("inf"), True, None, "1s"):
        with pytest.raises((TypeError, ValueError), match="^x: expected .*found "):
            parse_share(given, "x")
