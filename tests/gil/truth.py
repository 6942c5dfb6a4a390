"""Holds and releases the GIL in native code for known times, with several duties and periods. Prints the errors of
the meter's held share and longest hold, as JSON. The second argument is the compiled benches/c/gil_generator.c."""

import json
import os
import sys
import sysconfig

from meter import close, snapshot, start, stop, window

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../benches/python"))
from gil_generator import TRIES, Generator, Truth  # noqa: E402

FREE_THREADED = sysconfig.get_config_var("Py_GIL_DISABLED")
# Makes one hold the longest. Its length is known exactly; the first and the last hold begin or end in the interpreter.
EXTRA_NS = 300000
generator = Generator(sys.argv[2])
start()
shares, holds, events = [], [], []
for period_us in (100, 1000, 10000, 100000):
    for duty in (0, 10, 25, 50, 75, 90, 100):
        hold, release = period_us * 10 * duty, period_us * 10 * (100 - duty)
        rounds = max(2, 30000 // period_us)
        # The first release gives this thread a row in the meter.
        generator.generate(Truth(), 0, 1000, 1)
        for _ in range(TRIES):
            truth, before = Truth(extra_ns=EXTRA_NS), generator.now_ns()
            stretch = window()
            truth.begin(before, generator.now_ns())
            generator.generate(truth, hold, release, rounds)
            end = generator.now_ns()
            totals, threads = snapshot(window=stretch)
            truth.end(end, generator.now_ns())
            close(stretch)
            if not truth.torn:
                break
        # All time but the releases is held, including the interpreter's work around the generator.
        error_ns = truth.error_ns(totals.metered_ns - totals.held_ns)
        shares.append(error_ns / totals.metered_ns)
        if release:
            holds.append(truth.longest_hold_error_ns(totals.longest_hold_ns))
            if period_us == 100:
                events.append(error_ns / truth.pairs / 2)
        # 2.7 drops the GIL every hundred ticks, even if no thread waits.
        forced = totals.forced_drops if sys.version_info < (3,) else 0
        counted = totals.voluntary_releases, totals.forced_drops, totals.acquisitions
        # A free-threaded build with its GIL on also releases it to wait for other locks.
        explicit = totals.voluntary_releases if FREE_THREADED else rounds if release else 0
        assert counted == (explicit, forced, explicit + forced), (period_us, duty, counted)
        assert len(threads) == 1 and sum(row.held_ns for row in threads.values()) == totals.held_ns
stop()
print(
    json.dumps(
        {
            "mean": sum(shares) / len(shares),
            "max": max(shares),
            "longest_us": max(holds) / 1e3,
            "event_ns": sorted(events)[len(events) // 2],
        }
    )
)
