"""Durations and shares as text: "20 ms", "30.0 %".

Serves CPython 2.7 and 3.x, and needs only the standard library.
"""


def duration(seconds):
    """Returns a duration with its unit, to three significant digits: "1.5 s", "20 ms", "300 us"."""
    # 0.9995 of a unit is rounded to 1.
    if seconds >= 0.9995 or seconds == 0:
        value, unit = seconds, "s"
    elif seconds >= 0.9995e-3:
        value, unit = seconds * 1e3, "ms"
    elif seconds >= 0.9995e-6:
        value, unit = seconds * 1e6, "us"
    else:
        value, unit = seconds * 1e9, "ns"
    # %g would write 1000 as 1e+03.
    return ("%.0f %s" if value >= 99.95 else "%.3g %s") % (value, unit)


def percent(share):
    """Returns a share, from 0 to 1, in percent: "30.0 %"."""
    return "%.1f %%" % (100 * share)
