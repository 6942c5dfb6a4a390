"""Slides 13-14: two Python threads share one core; a Python thread beside a call by ctypes has one to itself.

usage: slide13_ctypes.py CASE SECONDS LIBBUSY, with LIBBUSY the path of libbusy.so
"""

import ctypes

from side_by_side import internal, main


def external(libbusy):
    """The talk's call, as its slide has it: a CDLL function, so ctypes releases the GIL around it."""
    library = ctypes.CDLL(libbusy)
    library.busy_wait.argtypes = [ctypes.c_uint]
    library.busy_wait.restype = ctypes.c_void_p
    return lambda seconds: library.busy_wait(seconds) or 0


CASES = {
    "one-internal": lambda libbusy: [("internal", internal)],
    "two-internal": lambda libbusy: [("internal", internal), ("internal", internal)],
    "internal+external": lambda libbusy: [("internal", internal), ("external", external(libbusy))],
}

if __name__ == "__main__":
    main(CASES, "CASE SECONDS LIBBUSY")
