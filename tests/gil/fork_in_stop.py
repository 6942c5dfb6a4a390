"""Forks while another thread, which has no GIL, stops the meter. The child is metered as often as it has starts that
were not stopped: if it has none, its next start begins a session, and the stop after that ends it.

The arguments: libbusy, and the library of fork_in_stop.c.
"""

import ctypes
import random
import sys

from lives import in_a_child
from meter import HELD, OFF, Totals, rows, start, stop

FORKS = 1200

helper = ctypes.PyDLL(sys.argv[2])
helper.prepare.argtypes = [ctypes.c_void_p, ctypes.c_long]


def is_off():
    totals = Totals(ctypes.sizeof(Totals), 0, 0)
    return HELD.busy_gil_snapshot(ctypes.byref(totals), None, 0, None) == OFF


def session():
    start()
    found = rows()[0].session
    stop()
    return found


def child():
    if is_off():
        first, second = session(), session()
        assert second == first + 1, (first, second)
    else:
        stop()
        assert is_off()


for _ in range(FORKS):
    start()
    assert helper.prepare(ctypes.cast(HELD.busy_gil_stop, ctypes.c_void_p), random.randrange(6000)) == 0
    helper.go()
    in_a_child(child)
    helper.finish()
print("stopped")
