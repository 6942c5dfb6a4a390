"""Runs many short threads one after the other under one window (short_threads.c is the second argument, their number
the third). The totals must be those that the threads have measured, the last thread's own window must be right, and
memory must not grow. Prints how far the held time lies outside of the bounds that the threads have measured, and how
far these are apart, as shares; and the growth of the resident memory, in bytes."""

import json
import os
import signal
import sys
import threading
import time

from meter import HELD, close, rows, snapshot, start, stop, tid, wait, window
from native_threads import one_after_the_other

THREADS = int(sys.argv[3])
HOLD_NS = 500000
KEPT = 1024


def resident():
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def last(found):
    """A thread with a window of its own, which holds the GIL for 3 ms."""
    before = time.monotonic()
    number = window()
    held = wait(HELD, 3000000)
    totals, threads = snapshot(0, number, capacity=KEPT + 64)
    found.append((held, threads[tid()], (time.monotonic() - before) * 1e9))
    close(number)


# A million threads take ten minutes.
if THREADS > 10000:
    signal.alarm(0)
threading.Thread(target=len, args=((),)).start()
start()
outer = window()
one_after_the_other(2 * KEPT, 1000)
before = resident()
number = window()
least, most, longest_least, longest_most = one_after_the_other(THREADS, HOLD_NS)
totals, threads = rows(0, number, capacity=4 * KEPT)
growth = resident() - before
own = [row for row in threads if row.tid == tid()]
others = [row for row in threads if row.tid != tid()]
held = sum(row.held_ns for row in others)
assert len(own) == 1 and len(others) <= KEPT + 1, len(others)
assert sum(row.acquisitions for row in others) == THREADS, sum(row.acquisitions for row in others)
assert sum(row.voluntary_releases for row in others) == THREADS
assert held + own[0].held_ns == totals.held_ns <= totals.metered_ns
assert totals.unlisted_threads == 0
longest = max(row.longest_hold_ns for row in others)
assert longest_least * 0.999 <= longest <= longest_most * 1.001, (longest_least, longest, longest_most)
found = []
thread = threading.Thread(target=last, args=(found,))
thread.start()
thread.join()
held_ns, row, whole_ns = found[0]
assert held_ns <= row.longest_hold_ns <= row.held_ns <= whole_ns * 1.001, (held_ns, row.held_ns, whole_ns)
close(number)
close(outer)
stop()
off = max(0, least - held, held - most) / float(least)
print(json.dumps({"threads": THREADS, "off": off, "uncertain": most / float(least) - 1, "growth": growth}))
