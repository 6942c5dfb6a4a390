"""Measures one round of the overhead of busy's exact meter on the metered program.

python gil_cost.py LIBBUSY BLOCKS

Prints the nanoseconds of a call that releases and reacquires the GIL, and of a step of a pure Python loop, each with
and without the meter. A core's clock rate changes by up to a factor of 2 within a second, so each block of a few
milliseconds compares its own measurements: without the meter, twice with it, and without it again, which also removes
a steady drift. The block with the median ratio is reported.
"""

import ctypes
import json
import os
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../pyext/python/busy"))
from _ctypes_meter import Meter  # noqa: E402

CALLS = 2_000
STEPS = 10_000


def pair_ns(function):
    start = time.perf_counter_ns()
    for _ in range(CALLS):
        function()
    return (time.perf_counter_ns() - start) / CALLS


def loop_ns():
    start, step = time.perf_counter_ns(), 0
    while step < STEPS:
        step += 1
    return (time.perf_counter_ns() - start) / STEPS


def block(meter, function):
    """Returns the nanoseconds (metered, unmetered) of a pair, and of a step of the loop."""
    pairs, loops = {False: 0.0, True: 0.0}, {False: 0.0, True: 0.0}
    for turns, metered in (1, False), (2, True), (1, False):
        if metered:
            meter.start()
        for _ in range(turns):
            pairs[metered] += pair_ns(function) / 2
            loops[metered] += loop_ns() / 2
        if metered:
            meter.stop()
    return (pairs[True], pairs[False]), (loops[True], loops[False])


def median(costs):
    """Returns the (metered, unmetered) with the median ratio."""
    return sorted(costs, key=lambda cost: cost[0] / cost[1])[len(costs) // 2]


def main(libbusy, blocks):
    # Releasing the GIL costs more after a second thread has been started, in any way.
    threading.Thread(target=threading.Event().wait, daemon=True).start()
    meter, function = Meter(libbusy), ctypes.CDLL(libbusy).busy_abi_version
    costs = [block(meter, function) for _ in range(int(blocks))]
    pair, loop = median([pair for pair, _ in costs]), median([loop for _, loop in costs])
    print(json.dumps({"figures": {"pair": [pair[0] - pair[1]], "pair-ratio": pair, "loop": loop}}))


if __name__ == "__main__":
    main(*sys.argv[1:])
