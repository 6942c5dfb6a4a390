"""Forks while another thread starts the stopped meter. The child can start and stop its own meter, and gets its own
figures."""

import os
import sys
import threading

from entries import leading_into_libbusy
from lives import in_a_child
from meter import HELD, OFF, RELEASED, Totals, ctypes, snapshot, start, stop, tid, wait

ROUNDS = 20
starting, done, pipe = [], [], os.pipe()


def start_and_stop():
    while not done:
        starting.append(True)
        start()
        starting.pop()
        stop()


def status():
    return HELD.busy_gil_snapshot(ctypes.byref(Totals(ctypes.sizeof(Totals))), None, 0, None)


def child():
    is_in_start = status() == OFF
    os.write(pipe[1], b"1" if is_in_start else b"0")
    if not is_in_start:
        return
    # The thread that was starting the meter does not exist here.
    assert leading_into_libbusy()[0] == 0, "the entries must be restored"
    for _ in range(2):
        start()
        wait(HELD, 1000000)
        wait(RELEASED, 1000)
        totals, threads = snapshot()
        assert list(threads) == [tid()], threads
        assert totals.held_ns >= 1000000, totals.held_ns
        released = totals.voluntary_releases + totals.forced_drops
        assert totals.acquisitions == released >= 1, (totals.acquisitions, released)
        stop()


# Drop requests are frequent, so the main thread acquires the GIL whenever the other thread releases it inside start().
if sys.version_info < (3,):
    sys.setcheckinterval(1)
else:
    sys.setswitchinterval(1e-6)
other = threading.Thread(target=start_and_stop)
other.start()
forks = 0
try:
    while forks < ROUNDS:
        # The other thread is inside its call of start(), unless it acquires the GIL again before the fork.
        if starting and status() == OFF:
            in_a_child(child)
            forks += os.read(pipe[0], 1) == b"1"
finally:
    done.append(True)
    other.join()
print("started in each child")
