"""During metering, some words of CPython's object lead into libbusy; before and afterwards, none do. A start without
the GIL, a superfluous stop and an unknown window are refused, without any effect."""

import ctypes

from entries import leading_into_libbusy
from meter import (
    BAD_OPTION,
    HELD,
    HOLDS,
    NOT_HELD,
    OFF,
    OK,
    RELEASED,
    Thread,
    Totals,
    close,
    histograms,
    own_thread,
    reason,
    snapshot,
    start,
    stop,
    u32,
    wait,
    window,
)

NULL_POINTER, BAD_SIZE = 2, 4


before, rights = leading_into_libbusy()
assert before == 0
assert RELEASED.busy_gil_start() == NOT_HELD and "PyDLL" in reason(), reason()
assert HELD.busy_gil_stop() == OFF
totals, number = Totals(ctypes.sizeof(Totals)), u32()
assert HELD.busy_gil_snapshot(ctypes.byref(totals), None, 0, None) == OFF
assert HELD.busy_gil_window_open(ctypes.byref(number)) == OFF
assert HELD.busy_gil_own_thread(ctypes.byref(Thread())) == OFF
assert leading_into_libbusy() == (0, rights)

for _ in range(3):
    start()
    start()
    assert leading_into_libbusy()[0] >= 4
    wait(HELD, 3000000)
    own = own_thread()
    row = snapshot()[1][own.tid]
    assert own.id == row.id and own.state == row.state == HOLDS, (own.state, row.state)
    assert 3000000 <= own.held_ns <= row.held_ns, (own.held_ns, row.held_ns)
    stop()
    assert leading_into_libbusy()[0] >= 4, "one start is left"
    totals, threads = snapshot()
    assert 3000000 <= totals.longest_hold_ns <= totals.held_ns, "expected a hold without an acquire"
    stop()
    assert leading_into_libbusy() == (0, rights), (
        "the entries and the permissions of their pages must be restored"
    )
    assert HELD.busy_gil_stop() == OFF

start()
first = window()
wait(RELEASED, 3000000)
second = window()
wait(HELD, 1000000)
outer, inner = snapshot(window=first)[0], snapshot(window=second)[0]
assert inner.metered_ns < outer.metered_ns < snapshot()[0].metered_ns
assert (inner.voluntary_releases, outer.voluntary_releases) == (0, 1)
assert 1000000 <= inner.longest_hold_ns <= inner.held_ns <= inner.metered_ns
wait(HELD, 50000000)
wait(RELEASED, 1000)
third = window()
wait(RELEASED, 1000)
assert snapshot(window=second)[0].longest_hold_ns >= 50000000 > snapshot(window=third)[0].longest_hold_ns
others = [window() for _ in range(197)]
assert others == list(range(4, 201)), "the numbers follow each other"
for open_window in others + [first, second, third]:
    close(open_window)
    assert HELD.busy_gil_window_close(open_window) == BAD_OPTION
fresh = [window() for _ in range(200)]
wait(HELD, 2000000)
wait(RELEASED, 1000)
assert all(2000000 <= snapshot(window=number)[0].longest_hold_ns < 50000000 for number in fresh), (
    "a window must not contain figures of an earlier one"
)


def refused(status, size=None, gil=0, window=0):
    totals = Totals(ctypes.sizeof(Totals) if size is None else size, gil, window)
    totals.held_ns = 7
    assert HELD.busy_gil_snapshot(ctypes.byref(totals), None, 0, None) == status and totals.held_ns == 7


refused(BAD_OPTION, gil=1)
refused(BAD_OPTION, window=2**32 - 1)
refused(BAD_SIZE, size=0)
refused(BAD_SIZE, size=ctypes.sizeof(Totals) - 1)
refused(BAD_SIZE, size=5000)
assert HELD.busy_gil_snapshot(None, None, 0, None) == NULL_POINTER
assert HELD.busy_gil_snapshot(ctypes.byref(totals), None, 1, None) == NULL_POINTER
assert HELD.busy_gil_window_open(None) == NULL_POINTER
assert HELD.busy_gil_snapshot(ctypes.byref(totals), None, 0, None) == OK

# Histograms count from the moment on from which they are kept, and end with the session.
early = window()
histograms(early, OFF)
assert HELD.busy_gil_histograms_keep() == OK == HELD.busy_gil_histograms_keep()
wait(RELEASED, 1000)
late = window()
wait(HELD, 5000000)
wait(RELEASED, 1000)
holds, waits = histograms(late)
after = snapshot(window=late)[0]
# 2.7 drops the GIL every 100 bytecode instructions.
assert 1 <= sum(holds) <= after.voluntary_releases + after.forced_drops and sum(holds[13:]) == 1, holds
assert sum(histograms()[0]) > sum(holds) and sum(waits) == 0, (histograms(), holds, waits)
histograms(early, OFF)
histograms(999, BAD_OPTION)
stop()
start()
histograms(0, OFF)
stop()

# After the creation of another interpreter, too, a thread without the GIL is refused. There PyGILState_Check returns 1.
try:
    import _interpreters as interpreters
except ImportError:
    try:
        import _xxsubinterpreters as interpreters
    except ImportError:
        interpreters = None
if interpreters is not None:
    interpreters.create()
    assert RELEASED.busy_gil_start() == NOT_HELD, reason()
    start()
    stop()
print("off")
