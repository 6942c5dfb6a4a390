"""Four threads each hold the GIL for a known time and sleep without it for a known time (nap.c is the second
argument): prints how far off the meter's held and waited shares of each are, as JSON. What a thread neither held nor
slept, it waited, but for the time that it was ready to run and had no core: that is told beside it."""

import ctypes
import json
import sys
import threading

from meter import HELD, snapshot, start, stop, tid, wait

NAP = ctypes.CDLL(sys.argv[2]).nap
NAP.argtypes, NAP.restype = [ctypes.c_uint64], ctypes.c_uint64
PATTERNS_MS = ((10, 30), (20, 40), (30, 5), (5, 60))
SECONDS = 1.0
rows = []


def starved_ns():
    with open("/proc/self/task/{}/schedstat".format(tid())) as schedstat:
        return int(schedstat.read().split()[1])


def work(hold_ms, nap_ms, gate):
    gate.wait()
    NAP(1000)
    starved = starved_ns()
    totals, threads = snapshot()
    before, begin, held, napped = threads[tid()], totals.at_ns, 0, 0
    while totals.at_ns - begin < SECONDS * 1e9:
        held += wait(HELD, hold_ms * 1000000)
        napped += NAP(nap_ms * 1000000)
        totals, threads = snapshot()
    after, wall = threads[tid()], float(totals.at_ns - begin)
    rows.append(
        {
            "held_off": (after.held_ns - before.held_ns - held) / wall,
            "waited_off": (after.waited_ns - before.waited_ns - (wall - held - napped)) / wall,
            "waited": (after.waited_ns - before.waited_ns) / wall,
            "starved": (starved_ns() - starved) / wall,
            "waits": after.waits - before.waits,
            "longest_wait": after.longest_wait_ns / wall,
        }
    )


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
