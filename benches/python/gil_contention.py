"""Measures the error of the exact GIL meter while four threads contend. Each of them repeatedly holds the GIL for a
known time and sleeps without it.

python gil_contention.py LIBBUSY GENERATOR

GENERATOR is the compiled c/gil_generator.c. Prints one round, with a value for each thread: the errors of its held and
its waited share in percentage points (held, waited), and the figures that show whether it did contend: its number of
waits, their sum and the longest of them in percent of the time (waits, sum, longest).

There are no drop requests. With them, a thread would also wait while Python code runs, at times that the generator does
not know.
"""

import json
import os
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../pyext/python/busy"))
from _ctypes_meter import Meter  # noqa: E402
from gil_generator import Generator, Truth  # noqa: E402

PATTERNS_MS = ((10, 30), (20, 40), (30, 5), (5, 60))
SECONDS = 1.0


def work(meter, generator, pattern_ms, gate, figures):
    hold_ns, nap_ns = (ms * 1000000 for ms in pattern_ms)
    gate.wait()
    # The first release gives this thread a row in the meter.
    generator.generate(Truth(), 0, 1000, 1, asleep=True)
    truth, end = Truth(), time.time() + SECONDS
    start_ns, threads = meter.snapshot()
    before = threads[meter.tid()]
    while time.time() < end:
        generator.generate(truth, hold_ns, nap_ns, 1, asleep=True)
    end_ns, threads = meter.snapshot()
    after = threads[meter.tid()]
    percent = 100.0 / (end_ns - start_ns)
    # With contention, a release is at the beginning of PyEval_SaveThread, because the waiter that it wakes may take
    # this thread's CPU, and an acquire is at the end of PyEval_RestoreThread. All other time is held.
    held_ns = end_ns - start_ns - truth.releasing_ns - truth.away_ns - truth.acquiring_ns
    waited_ns = after.waited_ns - before.waited_ns
    found = {
        "held": abs(after.held_ns - before.held_ns - held_ns) * percent,
        "waited": abs(waited_ns - float(truth.acquiring_ns)) * percent,
        "waits": after.waits - before.waits,
        "sum": waited_ns * percent,
        "longest": after.longest_wait_ns * percent,
    }
    for figure, value in found.items():
        figures.setdefault(figure, []).append(value)


def main(libbusy, generator):
    if sys.version_info < (3,):
        sys.setcheckinterval(2**31 - 1)
    else:
        sys.setswitchinterval(1000)
    meter, generator = Meter(libbusy), Generator(generator)
    meter.start()
    gate, figures = threading.Event(), {}
    arguments = [(meter, generator, pattern_ms, gate, figures) for pattern_ms in PATTERNS_MS]
    workers = [threading.Thread(target=work, args=each) for each in arguments]
    for worker in workers:
        worker.start()
    gate.set()
    for worker in workers:
        worker.join()
    metered_ns, threads = meter.snapshot()
    assert sum(row.held_ns for row in threads.values()) <= metered_ns
    meter.stop()
    print(json.dumps({"figures": figures}))


if __name__ == "__main__":
    main(*sys.argv[1:])
