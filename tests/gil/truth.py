"""Holds and releases the GIL in native code for known times, with several duties and periods. Prints the errors of
the meter's held share and longest hold, as JSON."""

import json
import sys
import sysconfig

from meter import HELD, RELEASED, close, snapshot, start, stop, wait, window

FREE_THREADED = sysconfig.get_config_var("Py_GIL_DISABLED")
start()
shares, holds = [], []
for period_us in (100, 1000, 10000, 100000):
    for duty in (0, 10, 25, 50, 75, 90, 100):
        hold, release = period_us * 10 * duty, period_us * 10 * (100 - duty)
        rounds = max(2, 100000 // period_us)
        wait(HELD, 1000), wait(RELEASED, 1000)
        stretch = window()
        released = longest = 0
        for _ in range(rounds):
            if hold:
                longest = max(longest, wait(HELD, hold))
            if release:
                released += wait(RELEASED, release)
        totals, threads = snapshot(window=stretch)
        close(stretch)
        # All time except the released waits is held, including the interpreter's work between the calls.
        truth = 1 - float(released) / totals.metered_ns
        shares.append(abs(float(totals.held_ns) / totals.metered_ns - truth))
        # The hold also includes the work between the calls, so `longest` is a lower bound of its true length.
        if hold and release:
            holds.append(abs(totals.longest_hold_ns - longest))
        # 2.7 drops the GIL every hundred ticks, even if no thread waits.
        forced = totals.forced_drops if sys.version_info < (3,) else 0
        counted = totals.voluntary_releases, totals.forced_drops, totals.acquisitions
        # A free-threaded build with its GIL on also releases it to wait for other locks.
        explicit = totals.voluntary_releases if FREE_THREADED else rounds if release else 0
        assert counted == (explicit, forced, explicit + forced), (period_us, duty, counted)
        assert len(threads) == 1 and sum(row.held_ns for row in threads.values()) == totals.held_ns
stop()
print(json.dumps({"mean": sum(shares) / len(shares), "max": max(shares), "longest_ms": max(holds) / 1e6}))
