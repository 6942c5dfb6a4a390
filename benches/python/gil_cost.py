"""Measures one round of the overhead of busy's exact meter on the metered program.

python gil_cost.py LIBBUSY CALLS

Prints the nanoseconds of a call that releases and reacquires the GIL, and of a step of a pure Python loop, each with
and without the meter.
"""

import ctypes
import json
import os
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../pyext/python/busy"))
from _ctypes_meter import Meter  # noqa: E402

TURNS = 15


def pair_ns(function, calls):
    start = time.perf_counter_ns()
    for _ in range(calls):
        function()
    return (time.perf_counter_ns() - start) / calls


def loop_ns(steps):
    start, step = time.perf_counter_ns(), 0
    while step < steps:
        step += 1
    return (time.perf_counter_ns() - start) / steps


def main(libbusy, calls):
    # Releasing the GIL costs more after a second thread has been started, in any way.
    threading.Thread(target=threading.Event().wait, daemon=True).start()
    meter, calls, function = Meter(libbusy), int(calls), ctypes.CDLL(libbusy).busy_abi_version
    pairs, loops = ([], []), ([], [])
    for _ in range(TURNS):
        for metered in (False, True):
            if metered:
                meter.start()
            pairs[metered].append(pair_ns(function, calls))
            loops[metered].append(loop_ns(calls * 5))
            if metered:
                meter.stop()
    # The minimum, because disturbances only add time.
    (pair, metered_pair), (loop, metered_loop) = map(min, pairs), map(min, loops)
    print(
        json.dumps(
            {
                "figures": {
                    "pair": [metered_pair - pair],
                    "pair-ratio": [metered_pair, pair],
                    "loop": [metered_loop, loop],
                }
            }
        )
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
