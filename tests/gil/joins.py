"""A thread begins to wait for the GIL before another one starts the meter. When it joins the running meter, it is known
as the holder."""

import threading
import time

from meter import HELD, HOLDS, RELEASED, own_thread, snapshot, start, stop, tid, wait

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
print("joined")
