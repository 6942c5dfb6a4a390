"""Measures one round of the cost of a call that does nothing, in nanoseconds.

python -I calls.py FOLDER LIBBUSY PEERS CALLS

FOLDER contains the extension modules `calls` and `busy_cffi`. The sides take turns of hundreds of calls. A turn is a
loop whose body is 20 calls, so that the loop itself costs little. The median of the turns of each side is reported.
"""

import ctypes
import json
import statistics
import sys
import threading
import timeit

folder, libbusy, peers, calls = *sys.argv[1:4], int(sys.argv[4])
sys.path.insert(0, folder)

import busy  # noqa: E402
import calls as c  # noqa: E402

UNROLLED, LOOPS = 20, 25
missing = {}


def by_ctypes(kind, library, name, argument):
    function = getattr(kind(library), name)
    function.argtypes, function.restype = [argument], ctypes.c_uint64
    return function


# The function and the argument of each side, by the name with which its rows begin.
sides = {
    "with_lock": (busy.with_lock, 0.0),
    "without_lock": (busy.without_lock, 0.0),
    "with_lock-varargs": (c.with_lock_varargs, 0.0),
    "without_lock-varargs": (c.without_lock_varargs, 0.0),
    "with_lock-o": (c.with_lock_o, 0.0),
    "without_lock-o": (c.without_lock_o, 0.0),
    "with_lock-ctypes": (by_ctypes(ctypes.PyDLL, libbusy, "busy_wait", ctypes.c_uint), 0),
    "without_lock-ctypes": (by_ctypes(ctypes.CDLL, libbusy, "busy_wait", ctypes.c_uint), 0),
    "with_lock-ctypes-c": (by_ctypes(ctypes.PyDLL, peers, "clock_loop_seconds", ctypes.c_double), 0.0),
    "without_lock-ctypes-c": (by_ctypes(ctypes.CDLL, peers, "clock_loop_seconds", ctypes.c_double), 0.0),
}
try:
    from busy_cffi import lib

    sides["without_lock-cffi"] = (lib.clock_loop_seconds, 0.0)
except ImportError as error:
    missing["without_lock-cffi"] = str(error)

# A release and reacquire of the GIL costs more after a second thread has been started, as in any program that uses it.
threading.Thread(target=threading.Event().wait, daemon=True).start()

timers = {
    name: timeit.Timer("f(x);" * UNROLLED, "f, x = side", globals={"side": side})
    for name, side in sides.items()
}
times = {name: [] for name in timers}
for turn in range(1 + max(3, calls // (UNROLLED * LOOPS))):
    for name, timer in timers.items():
        time = timer.timeit(LOOPS)
        if turn > 0:  # The first turn is a warm-up, in which CPython specializes the code.
            times[name].append(time / (UNROLLED * LOOPS) * 1e9)

medians = {name: statistics.median(turns) for name, turns in times.items()}
figures = {name: [medians[name.partition("-")[0]], median] for name, median in medians.items() if "-" in name}
print(json.dumps({"figures": figures, "missing": missing}))
