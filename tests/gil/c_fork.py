"""A program forks by C, of which Python learns nothing, and goes on in the child, which creates a lock. The child's
meter continues with the GIL that it has; in 2.7, both are semaphores."""

import ctypes
import os
import threading

from lives import in_a_child
from meter import HELD, RELEASED, rows, start, wait

MS = 1000000


def child():
    lock = threading.Lock()
    with lock:
        pass
    before = rows()[0]
    for _ in range(10):
        wait(RELEASED, MS)
    wait(HELD, 20 * MS)
    for _ in range(10):
        with lock:
            pass
    after = rows()[0]
    held, acquired = after.held_ns - before.held_ns, after.acquisitions - before.acquisitions
    assert held >= 20 * MS and after.at_ns - before.at_ns - held >= 10 * MS, (
        held,
        after.at_ns - before.at_ns,
    )
    assert acquired >= 10, acquired


start()
wait(RELEASED, MS)
libc = ctypes.PyDLL(None)
os.fork = libc.fork
in_a_child(child)
print("metered")
