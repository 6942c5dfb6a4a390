"""Compares busy.counters() with a known truth: 64 native threads that come and go hold and release the GIL for known
times, while three readers call busy.counters() 1,000 times per second together.

python counters.py LIBRARY [SECONDS]

LIBRARY is c/gil_threads.c, compiled. Prints how far the sums are from the truth, whether any figure fell, and how long
each reader held the GIL.
"""

import ctypes
import os
import statistics
import sys
import threading
import time

import busy

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from gil_generator import Generator, Truth

PLACES = 64
HOLD_NS, RELEASE_NS, PAIRS = 500_000, 60_000_000, 5
READERS, READER_PAUSE_NS = 3, 2_900_000
FIGURES = "metered_s", "held_s", "waited_s", "acquisitions", "forced_drops"


class Place(ctypes.Structure):
    """The struct place of c/gil_threads.c."""

    _fields_ = [
        (name, ctypes.c_uint64)
        for name in "hold_ns release_ns pairs until_ns threads held_ns waited_ns".split()
    ]


class Reader(threading.Thread):
    """Reads the counters, and sleeps in between, in native code that notes when it had the GIL."""

    def __init__(self, generator: Generator) -> None:
        super().__init__()
        self.generator, self.truth = generator, Truth()
        self.ended, self.reads, self.fallen, self.calls_ns = False, 0, 0, []

    def run(self) -> None:
        generator, truth = self.generator, self.truth
        before = busy.counters()
        held_s = busy.thread_times().held_s
        begin_ns = time.monotonic_ns()
        truth.begin(begin_ns, begin_ns)
        while not self.ended:
            generator.generate(truth, 0, READER_PAUSE_NS, 1, asleep=True)
            start_ns = time.monotonic_ns()
            now = busy.counters()
            self.calls_ns.append(time.monotonic_ns() - start_ns)
            self.fallen += any(getattr(before, name) > getattr(now, name) for name in FIGURES)
            before = now
            self.reads += 1
        # With contention, a hold ends before PyEval_SaveThread, and begins after PyEval_RestoreThread.
        away_ns = truth.releasing_ns + truth.away_ns + truth.acquiring_ns
        self.held_ns = time.monotonic_ns() - begin_ns - away_ns
        self.held_s = busy.thread_times().held_s - held_s


def main(library: str, seconds: float = 60) -> None:
    generator = Generator(library)
    come_and_go = ctypes.CDLL(library).come_and_go
    until_ns = generator.now_ns() + int(float(seconds) * 1e9)
    places = (Place * PLACES)(*[Place(HOLD_NS, RELEASE_NS, PAIRS, until_ns) for _ in range(PLACES)])
    readers = [Reader(generator) for _ in range(READERS)]
    busy.counters()
    for reader in readers:
        reader.start()
    before = busy.counters()
    assert come_and_go(places, PLACES) == 0, "not all threads could begin"
    after = busy.counters()
    for reader in readers:
        reader.ended = True
        reader.join()
    threads = sum(place.threads for place in places)
    held_s = sum(place.held_ns for place in places) / 1e9 + sum(reader.held_ns for reader in readers) / 1e9
    waited_s = (
        sum(place.waited_ns for place in places) + sum(reader.truth.acquiring_ns for reader in readers)
    ) / 1e9
    elapsed_s = after.metered_s - before.metered_s
    reads = sum(reader.reads for reader in readers)
    calls_ns = sorted(ns for reader in readers for ns in reader.calls_ns)
    print(
        f"{threads} threads, {PLACES} at a time, and {reads / elapsed_s:.0f} reads per second, for {elapsed_s:.1f} s"
    )
    for name, found, truth in (
        ("held", after.held_s - before.held_s, held_s),
        ("waited", after.waited_s - before.waited_s, waited_s),
    ):
        print(f"{name}: {found:.6f} s, truth {truth:.6f} s, {100 * (found / truth - 1):+.4f} %")
    print(f"figures that fell: {sum(reader.fallen for reader in readers)}")
    print(
        f"a call of busy.counters(): median {statistics.median(calls_ns) / 1e3:.1f} us, "
        f"99th percentile {calls_ns[len(calls_ns) * 99 // 100] / 1e3:.1f} us"
    )
    for reader in readers:
        print(
            f"a reader held the GIL for {100 * reader.held_s / elapsed_s:.2f} % of the time, {reader.reads} reads"
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
