"""What the threads of slide 22 do, each inside the interpreter that it is in. Imported by every one of them.

For CPython 3.8 and later. Needs only the standard library.
"""

import os
import sys
import time


def count(seconds, started):
    """The loop of c-examples/interpreters.c. Calls `started` when its time runs."""
    clock = time.monotonic
    end = clock() + seconds
    started()
    n = 0
    while clock() < end:
        for _ in range(1000):
            pass
        n += 1000
    return n


def external(libbusy):
    """The talk's call by ctypes, which releases the GIL."""
    import ctypes

    library = ctypes.CDLL(libbusy)
    library.busy_wait.argtypes = [ctypes.c_uint]
    library.busy_wait.restype = ctypes.c_uint64
    return library.busy_wait


def with_lock(folder):
    """The talk's call by the extension module in C, which keeps the GIL."""
    sys.path.insert(0, folder)
    import busy_c

    return busy_c.with_lock


def waited_for_core_s():
    """How long this thread was ready to run but had no core; waiting for the GIL is not that (proc(5), schedstat)."""
    try:
        with open("/proc/thread-self/schedstat") as account:
            return int(account.read().split()[1]) / 1e9
    except OSError:
        return 0.0


def measured(work, *arguments):
    """What `work` returns, and how long it waited for a core."""
    before = waited_for_core_s()
    return work(*arguments), waited_for_core_s() - before


def counted(seconds):
    return measured(count, seconds, nothing)


def nothing():
    pass


def first(seconds, door):
    """Counts, and opens the door to `second` when its time runs: a call that keeps the GIL would not let it begin."""
    return measured(count, seconds, lambda: os.write(door, b"x"))


def second(seconds, door, work):
    os.read(door, 1)
    return measured(work, seconds)


def hand_back(signal, answer, get, put):
    """The other side of a handover: at each signal takes the state and hands it back, until the signals end."""
    while os.read(signal, 1) == b"x":
        put(get())
        os.write(answer, b"x")


def change(state):
    """The other side of a state in common memory."""
    state[0] = (state[0] + 1) % 256
