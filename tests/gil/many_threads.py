"""Many threads (short_threads.c is the second argument): the third argument is how many are alive at once, the fourth
how many have ended before. The held times of the living add up to those of all. Prints in nanoseconds how long it takes
to read the living, and to open, read and close a window before and after the others have ended."""

import ctypes
import json
import sys
import time

from meter import HELD, OK, Thread, Totals, close, rows, size_t, start, stop, window
from native_threads import begin_all, end_all, one_after_the_other

ALIVE, ENDED = int(sys.argv[3]), int(sys.argv[4])
HOLD_NS = 20000
CAPACITY = ALIVE + 2048
totals, threads, needed = Totals(ctypes.sizeof(Totals)), (Thread * CAPACITY)(), size_t()


def read(number):
    totals.window = number
    assert HELD.busy_gil_snapshot(ctypes.byref(totals), threads, CAPACITY, ctypes.byref(needed)) == OK


def watch():
    number = window()
    read(number)
    close(number)


def median_ns(do):
    found = []
    for _ in range(101):
        before = time.perf_counter()
        do()
        found.append(time.perf_counter() - before)
    return round(sorted(found)[50] * 1e9)


start()
figures = {"watch_ns": median_ns(watch)}
one_after_the_other(ENDED, 1000)
figures["watch_after_ended_ns"] = median_ns(watch)
opened = window()
begin_all(ALIVE, HOLD_NS)
figures["snapshot_of_living_ns"] = median_ns(lambda: read(opened))
whole, living = rows(0, opened, capacity=CAPACITY)
assert sum(row.acquisitions == 1 for row in living) >= ALIVE, len(living)
assert sum(row.held_ns for row in living) == whole.held_ns <= whole.metered_ns, whole.held_ns
assert whole.held_ns >= ALIVE * HOLD_NS, whole.held_ns
end_all(ALIVE)
close(opened)
stop()
print(json.dumps(figures))
