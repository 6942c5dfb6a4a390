"""Drops on request are distinguished from voluntary releases, even if a drop was requested before such a release."""

import ctypes
import functools
import threading
import time

from meter import HELD, Waited, snapshot, start, stop, tid

ROUNDS = 20
HOLD_NS = 30000000  # six switch intervals, so that the other thread has requested a drop
waited = Waited()


class Slow(object):
    """A number whose conversion takes long, in C code that holds the GIL. No bytecode runs between the conversion and
    the release in time.sleep."""

    __index__ = staticmethod(functools.partial(HELD.busy_wait_ns, HOLD_NS, None, ctypes.byref(waited)))


def loop():
    tids.append(tid())
    while not done:
        pass


tids, done = [], False
start()
other = threading.Thread(target=loop)
other.start()
time.sleep(0.05)
before = snapshot()[1][tid()].voluntary_releases
for _ in range(ROUNDS):
    time.sleep(Slow())
after = snapshot()[1][tid()].voluntary_releases
looped = snapshot()[1][tids[0]]
done = True
other.join()
stop()
assert after - before == ROUNDS, (before, after)
# Except at its start and end, the thread never releases the GIL voluntarily. It drops the GIL on request each time that
# the main thread returns from its sleep.
assert looped.forced_drops >= ROUNDS and looped.voluntary_releases < ROUNDS / 2, (
    looped.forced_drops,
    looped.voluntary_releases,
)
print("distinguished")
