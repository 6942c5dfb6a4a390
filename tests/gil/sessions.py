"""Many sessions, one after the other, of which only the sums or the thread's own figures are read: the memory of one
serves the next."""

import ctypes
import os

from meter import HELD, OK, own_thread, size_t, start, stop, u32, u64

SESSIONS = 4000


class Counters(ctypes.Structure):
    _fields_ = [("size", size_t), ("gil", u32), ("gils", u32), ("rest", u64 * 62)]


def resident():
    with open("/proc/self/statm") as pages:
        return int(pages.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def read_counters():
    counters = Counters(ctypes.sizeof(Counters), 0)
    assert HELD.busy_gil_counters_read(ctypes.byref(counters)) == OK


for read in (read_counters, own_thread):
    for sessions in (200, SESSIONS):
        before = resident()
        for _ in range(sessions):
            start()
            read()
            stop()
    grown = resident() - before
    assert grown < SESSIONS * 100, "%s: %d bytes in %d sessions" % (read.__name__, grown, SESSIONS)
print("bounded")
