"""Slides 13-14: two Python threads share one core. A Python thread beside a ctypes call has a core of its own.

usage: slide13_ctypes.py CASE SECONDS LIBBUSY

LIBBUSY is the path of libbusy.so.
"""

import ctypes

from side_by_side import Spinner, internal, main, run


def external(libbusy):
    """Returns the talk's call as on its slide: a CDLL function, so ctypes releases the GIL during the call."""
    library = ctypes.CDLL(libbusy)
    library.busy_wait.argtypes = [ctypes.c_uint]
    library.busy_wait.restype = ctypes.c_void_p
    return lambda seconds: library.busy_wait(seconds) or 0


def control(seconds, libbusy):
    """Runs the Python thread beside the same call in another process, which shows how much the machine's CPUs slow each
    other down.
    """
    return run([("internal", internal)], seconds, Spinner(external(libbusy)))


CASES = {
    "one-internal": lambda libbusy: [("internal", internal)],
    "two-internal": lambda libbusy: [("internal", internal), ("internal", internal)],
    "internal+external": lambda libbusy: [("internal", internal), ("external", external(libbusy))],
}

if __name__ == "__main__":
    main(CASES, "CASE SECONDS LIBBUSY", control=control)
