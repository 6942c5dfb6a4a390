"""A release that another thread asked for is told from one that the thread does by itself, though it was asked to."""

import ctypes
import functools
import threading
import time

from meter import HELD, Waited, snapshot, start, stop, tid

ROUNDS = 20
HOLD_NS = 30000000  # six switch intervals: by then the other thread has asked
waited = Waited()


class Slow(object):
    """A number that takes long to tell, by C code that holds the GIL: no bytecode runs between that and time.sleep's
    own release."""

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
# Beside thread start and end it never lets go by itself; asked, it must, each time that the main thread comes back.
assert looped.forced_drops >= ROUNDS and looped.voluntary_releases < ROUNDS / 2, (
    looped.forced_drops,
    looped.voluntary_releases,
)
print("told apart")
