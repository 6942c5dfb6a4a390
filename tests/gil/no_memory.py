"""No address space is left (RLIMIT_AS, setrlimit(2)): for the longest hold of an open window, or for the account of the
thread that starts the meter. The reading or the start is refused, with the reason."""

import ctypes
import resource
import sys
import threading
import time

from meter import HELD, OK, REFUSED, RELEASED, Totals, close, reason, start, stop, wait, window

MS = 1000000
# A block of accounts has room for 1024 threads.
THREADS = 1023
# More than a window needs, and less than it needs with its longest hold.
ROOM_FOR_WINDOW = 300000
# Less than a block of accounts.
ROOM_FOR_START = 200000


def limit_for(room):
    with open("/proc/self/statm") as pages:
        return int(pages.read().split()[0]) * resource.getpagesize() + room


def within(limit, body):
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
    try:
        return body()
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def snapshot(number):
    totals = Totals(ctypes.sizeof(Totals), 0, number)
    return HELD.busy_gil_snapshot(ctypes.byref(totals), None, 0, None)


def hold():
    wait(HELD, 20 * MS)
    wait(RELEASED, MS)


def longest_hold():
    start()
    wait(RELEASED, 1000)
    limit = limit_for(ROOM_FOR_WINDOW)
    number = window()
    # The first event in the window needs the memory.
    within(limit, hold)
    assert snapshot(0) == OK
    assert snapshot(number) == REFUSED
    assert "memory" in reason() or "address space" in reason(), reason()
    # The next window has the memory.
    close(number)
    number = window()
    hold()
    assert snapshot(number) == OK
    close(number)
    stop()


def starting():
    threading.stack_size(65536)
    gate = threading.Lock()
    gate.acquire()
    start()
    # Each of them has an account; no account is left for the next session of this thread.
    for _ in range(THREADS):
        thread = threading.Thread(target=lambda: gate.acquire() and gate.release())
        thread.daemon = True
        thread.start()
    time.sleep(0.5)
    stop()
    status = within(limit_for(ROOM_FOR_START), HELD.busy_gil_start)
    assert status in (OK, REFUSED), status
    if status == REFUSED:
        assert "memory" in reason() or "address space" in reason(), reason()
        start()
    assert snapshot(0) == OK
    stop()
    gate.release()


{"longest_hold": longest_hold, "starting": starting}[sys.argv[2]]()
print("refused")
