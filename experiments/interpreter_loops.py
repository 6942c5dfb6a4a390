"""The loops of slide 22. Each interpreter imports this module, and its thread runs one of the loops.

Runs on CPython 3.8 and later. Needs only the standard library.
"""

import os
import sys
import time


def count(seconds, started):
    """Counts like c-examples/interpreters.c. Calls `started` once the clock runs."""
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
    """Returns the talk's ctypes function, which releases the GIL."""
    import ctypes

    library = ctypes.CDLL(libbusy)
    library.busy_wait.argtypes = [ctypes.c_uint]
    library.busy_wait.restype = ctypes.c_uint64
    return library.busy_wait


def with_lock(folder):
    """Returns the function of the talk's C extension module, which holds the GIL."""
    sys.path.insert(0, folder)
    import busy_c

    return busy_c.with_lock


def run_delay_s():
    """Returns the run delay of this thread: its time runnable without a CPU (proc(5), schedstat).

    Waiting for the GIL does not count, because a thread that waits for the GIL is asleep.
    """
    try:
        with open("/proc/thread-self/schedstat") as schedstat:
            return int(schedstat.read().split()[1]) / 1e9
    except OSError:
        return 0.0


def measured(work, *arguments):
    """Returns the result of `work`, and its run delay."""
    before = run_delay_s()
    return work(*arguments), run_delay_s() - before


def counted(seconds):
    return measured(count, seconds, nothing)


def nothing():
    pass


def first(seconds, pipe):
    """Counts, and starts `second` once its own clock runs. If a call that holds the GIL started first, `first` could
    not start."""
    return measured(count, seconds, lambda: os.write(pipe, b"x"))


def second(seconds, pipe, work):
    os.read(pipe, 1)
    return measured(work, seconds)


def hand_back(signal, answer, get, put):
    """The other side of an exchange: gets the state on each signal and puts it back, until the signals end."""
    while os.read(signal, 1) == b"x":
        put(get())
        os.write(answer, b"x")


def change(state):
    """Changes a state in shared memory, as the other side of an exchange."""
    state[0] = (state[0] + 1) % 256
