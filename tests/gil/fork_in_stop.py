"""Forks while another thread, which has no GIL, stops the meter. The child is metered as often as it has starts that
were not stopped: if it has none, its next start begins a session, and the stop after that ends it. Then the same with a
second copy of libbusy that forwards the stop to the one that meters.

The arguments: libbusy, and the library of fork_in_stop.c.
"""

import ctypes
import random
import shutil
import sys
import tempfile

from lives import in_a_child
from meter import HELD, OFF, OK, Totals, rows, start, stop
from other import copies

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


def fork_in_a_stop_of(library, body, delay_ns):
    assert (
        helper.prepare(ctypes.cast(library.busy_gil_stop, ctypes.c_void_p), random.randrange(delay_ns)) == 0
    )
    helper.go()
    in_a_child(body)
    helper.finish()


for _ in range(FORKS):
    start()
    fork_in_a_stop_of(HELD, child, 6000)

folder = tempfile.mkdtemp()
try:
    first, second = copies(folder, ["two"])
finally:
    shutil.rmtree(folder)


def child_of_two():
    # The stop may have happened in the first copy only. Then the second one knows a start too many.
    status = second.library.busy_gil_stop()
    assert status in (OK, OFF), status
    assert is_off() and second.library.busy_gil_stop() == OFF


for _ in range(FORKS):
    first.start()
    second.start()
    first.stop()
    fork_in_a_stop_of(second.library, child_of_two, 20000)
print("stopped")
