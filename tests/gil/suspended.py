"""While a machine is suspended, CLOCK_MONOTONIC stands still and the time stamp counter may run on. Here, a time
namespace sets CLOCK_MONOTONIC back instead (time_namespaces(7)). Later times are right all the same."""

import ctypes
import os
import time

from meter import HELD, OK, RELEASED, Waited, close, own_thread, size_t, snapshot, start, u32, wait, window

CLONE_NEWTIME = 0x80
SUSPENDED_S = 1
BUSY_CLOCK_TSC = 1


class Options(ctypes.Structure):
    _fields_ = [("size", size_t), ("cancel", ctypes.c_void_p), ("clock", u32), ("reserved", u32)]


def overshoot():
    """Returns the smallest overshoot of waits of 100 us on the time stamp counter, in nanoseconds. A wrong rate
    lengthens all of them, a loaded core only some."""
    waited, options = Waited(), Options(ctypes.sizeof(Options), None, BUSY_CLOCK_TSC, 0)
    found = []
    for _ in range(101):
        if HELD.busy_wait_ns(100000, ctypes.byref(options), ctypes.byref(waited)) != OK:
            return 0
        found.append(waited.elapsed_ns - 100000)
    return min(found)


def suspend():
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWTIME):
        return False
    with open("/proc/self/timens_offsets", "w") as offsets:
        offsets.write("monotonic -%d 0\n" % SUSPENDED_S)
    return libc.setns(os.open("/proc/self/ns/time_for_children", os.O_RDONLY), CLONE_NEWTIME) == 0


def assert_held_is_true():
    began, opened = time.monotonic(), window()
    before = own_thread().held_ns
    wait(HELD, 300000000)
    totals = snapshot(0, opened)[0]
    after = own_thread().held_ns
    took_ns = (time.monotonic() - began) * 1e9
    close(opened)
    wait(RELEASED, 1000)
    for held_ns in (totals.held_ns, totals.longest_hold_ns, after - before):
        assert 290000000 < held_ns < took_ns * 1.001, (held_ns, took_ns)
    assert -1000000 < totals.at_ns - began * 1e9 < took_ns + 1000000, "the time of the reading"


start()
overshoot()
wait(RELEASED, SUSPENDED_S * 1200000000)
assert_held_is_true()
if suspend():
    for _ in range(3):
        assert_held_is_true()
    overshoot_ns = overshoot()
    assert overshoot_ns < 20000, overshoot_ns
    print("true")
else:
    print("skipped: time namespaces are not permitted")
