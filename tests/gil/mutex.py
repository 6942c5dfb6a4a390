"""A thread that waits for the GIL's mutex waits for the GIL, unless it holds the GIL. The path of the compiled mutex.c,
which is preloaded, is the second argument."""

import ctypes
import sys
import threading
import time

import meter

hold_mutex = ctypes.CDLL(sys.argv[2]).hold_mutex
hold_mutex.argtypes = [ctypes.c_long] * 2


def thread(function, *arguments):
    started = threading.Thread(target=function, args=arguments)
    started.start()
    return started


def figures(body, *arguments):
    """Calls `body`, and returns by how much the calling thread's figures grow meanwhile, times in milliseconds."""
    before = meter.own_thread()
    body(*arguments)
    after = meter.own_thread()
    held_ms, waited_ms = (
        (getattr(after, key) - getattr(before, key)) / 1e6 for key in ("held_ns", "waited_ns")
    )
    return held_ms, waited_ms, after.waits - before.waits


def hold_and_release():
    meter.wait(meter.HELD, 100000000)
    time.sleep(0)


meter.start()
# A wait for the GIL shows the library which mutex belongs to it.
holder = thread(meter.wait, meter.HELD, 20000000)
time.sleep(0.001)
holder.join()

# From 20 to 220 ms. This thread asks for the GIL at 100 ms.
other = thread(hold_mutex, 20, 200)
held_ms, waited_ms, waits = figures(time.sleep, 0.1)
assert held_ms < 60 and waited_ms > 60 and waits == 1, (held_ms, waited_ms, waits)
other.join()

# Now it releases the GIL at 100 ms, and holds the GIL until it has the mutex.
other = thread(hold_mutex, 20, 200)
held_ms, waited_ms, waits = figures(hold_and_release)
assert held_ms > 160 and waited_ms < 60, (held_ms, waited_ms, waits)
other.join()
print("waited")
