"""Four threads each hold the GIL for a known time and sleep without it (contention.c is the second argument).
Prints the errors of the meter's held and waited shares of each thread, as JSON.

A thread waits from the end of its sleep to the beginning of its hold. There are no drop requests. Otherwise a
thread could also wait after its hold: it may drop the GIL and lose its CPU to the thread that was woken.
"""

import ctypes
import json
import sys
import threading
import time

from meter import snapshot, start, stop, tid, u64

NAP, HOLD = ctypes.CDLL(sys.argv[2]).nap, ctypes.PyDLL(sys.argv[2]).hold
NAP.argtypes, NAP.restype = [u64], u64
HOLD.argtypes, HOLD.restype = [u64, ctypes.c_void_p], u64
PATTERNS_MS = ((10, 30), (20, 40), (30, 5), (5, 60))
SECONDS = 1.0
rows = []


def work(hold_ms, nap_ms, gate):
    gate.wait()
    ended, held, waited = u64(), 0, 0
    NAP(1000)
    totals, threads = snapshot()
    before, start_ns, end = threads[tid()], totals.at_ns, time.time() + SECONDS
    while time.time() < end:
        woke = NAP(nap_ms * 1000000)
        began = HOLD(hold_ms * 1000000, ctypes.byref(ended))
        waited += began - woke
        held += ended.value - began
    totals, threads = snapshot()
    after, wall = threads[tid()], float(totals.at_ns - start_ns)
    rows.append(
        {
            "held_off": (after.held_ns - before.held_ns - held) / wall,
            "waited_off": (after.waited_ns - before.waited_ns - waited) / wall,
            "waited": (after.waited_ns - before.waited_ns) / wall,
            "waits": after.waits - before.waits,
            "longest_wait": after.longest_wait_ns / wall,
        }
    )


if sys.version_info < (3,):
    sys.setcheckinterval(2**31 - 1)
else:
    sys.setswitchinterval(1000)
start()
gate = threading.Event()
workers = [threading.Thread(target=work, args=pattern + (gate,)) for pattern in PATTERNS_MS]
for worker in workers:
    worker.start()
gate.set()
for worker in workers:
    worker.join()
totals, threads = snapshot()
stop()
assert sum(row.held_ns for row in threads.values()) == totals.held_ns <= totals.metered_ns
print(json.dumps(rows))
