"""A thread begins to wait for the GIL before another one starts the meter. When it joins the running meter, it is known
as the holder. It joins it also while other threads that do not hold the GIL are refused."""

import sys
import threading
import time

from meter import HELD, HOLDS, NOT_HELD, OK, RELEASED, own_thread, snapshot, start, stop, tid, wait

begun, waiting, joined = [threading.Event() for _ in range(3)]


def first():
    """Starts the meter while the main thread waits for the GIL."""
    begun.set()
    while not waiting.is_set():
        time.sleep(0.001)
    wait(HELD, 20000000)
    start()
    time.sleep(0.001)
    joined.wait()
    stop()


for _ in range(5):
    for event in (begun, waiting, joined):
        event.clear()
    thread = threading.Thread(target=first)
    thread.start()
    begun.wait()
    waiting.set()
    wait(RELEASED, 5000000)
    start()
    totals, threads = snapshot()
    assert [row.tid for row in threads.values() if row.state & HOLDS] == [tid()], threads
    assert totals.acquisitions == totals.voluntary_releases + totals.forced_drops, totals.acquisitions
    wait(HELD, 3000000)
    assert own_thread().held_ns >= 3000000
    joined.set()
    stop()
    thread.join()
# Starts without the GIL, which are refused, do not disturb each other nor a start with the GIL.
ended, refusals, statuses = [], set(), set()


def start_without_the_gil():
    while not ended:
        refusals.add(RELEASED.busy_gil_start())


start()
# Python 2.7 has no switch interval.
getattr(sys, "setswitchinterval", lambda _: None)(1e-6)
threads = [threading.Thread(target=start_without_the_gil) for _ in range(3)]
for thread in threads:
    thread.start()
for _ in range(20000):
    statuses.add(HELD.busy_gil_start())
    HELD.busy_gil_stop()
ended.append(True)
for thread in threads:
    thread.join()
assert (statuses, refusals) == ({OK}, {NOT_HELD}), (statuses, refusals)
print("joined")
