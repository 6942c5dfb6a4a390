"""Compares busy.counters() with a known truth, and measures what a reading costs the program.

python counters.py LIBRARY [SECONDS]

64 native threads that come and go hold and release the GIL for known times, while three readers call busy.counters()
1,000 times per second together. Where in its microseconds a hand-over of the GIL was is not known. So the holds are
long, the readers read many times in a row, and the switch interval is long: no thread asks for the GIL, which would
make the holder wait for the mutex of the GIL, and then for the hand-over. LIBRARY is c/gil_threads.c, compiled. Prints
how far the sums are from the truth, whether any figure fell, and for what share of the time the readings held the GIL.
The same threads without the reading are the control.
"""

import ctypes
import itertools
import sys
import threading
import time
from collections.abc import Callable

import busy

PLACES = 64
HOLD_NS, PERIOD_NS, HOLDS = 15_000_000, 2_000_000_000, 2
SWITCH_INTERVAL_S = 60
# 25 readings in 70 ms. The pause is shorter, since a reader waits for the GIL as well.
READERS, READINGS, READER_PAUSE_NS = 3, 25, 35_000_000
FIGURES = "metered_s", "held_s", "waited_s", "acquisitions", "forced_drops"


class Place(ctypes.Structure):
    """The struct place of c/gil_threads.c."""

    _fields_ = [
        (name, ctypes.c_uint64)
        for name in "hold_ns period_ns holds until_ns threads held_ns waited_ns".split()
    ]


class Pauses(ctypes.Structure):
    """The struct pauses of c/gil_threads.c."""

    _fields_ = [(name, ctypes.c_uint64) for name in ("released_ns", "waited_ns", "uncertain_ns")]


class Reader(threading.Thread):
    """Calls `read` and pauses in turns, until `ended` is set."""

    def __init__(self, library: str, read: Callable[[], object]) -> None:
        super().__init__()
        # PyDLL leaves the GIL held during a call.
        self.pause, self.read = ctypes.PyDLL(library).pause_without_gil, read
        self.pauses, self.found, self.ended = Pauses(), [], False

    def run(self) -> None:
        pauses, pause_ns = ctypes.byref(self.pauses), ctypes.c_uint64(READER_PAUSE_NS)
        held_s = busy.thread_times().held_s
        begin_ns = time.monotonic_ns()
        while not self.ended:
            self.pause(pauses, pause_ns)
            self.found += [self.read() for _ in range(READINGS)]
        self.held_ns = time.monotonic_ns() - begin_ns - self.pauses.released_ns
        self.held_s = busy.thread_times().held_s - held_s


def measure(
    library: str, seconds: float, read: Callable[[], object]
) -> tuple[list[Reader], list[Place], list[float]]:
    """Returns the readers, the places, and the metered, held and waited seconds by busy.counters()."""
    readers = [Reader(library, read) for _ in range(READERS)]
    before = busy.counters()
    for reader in readers:
        reader.start()
    until_ns = time.monotonic_ns() + int(seconds * 1e9)
    places = (Place * PLACES)(*[Place(HOLD_NS, PERIOD_NS, HOLDS, until_ns) for _ in range(PLACES)])
    assert ctypes.CDLL(library).come_and_go(places, PLACES) == 0, "not all threads could begin"
    for reader in readers:
        reader.ended = True
        reader.join()
    after = busy.counters()
    return readers, list(places), [getattr(after, name) - getattr(before, name) for name in FIGURES[:3]]


def held_share(readers: list[Reader], elapsed_s: float) -> float:
    return sum(reader.held_s for reader in readers) / len(readers) / elapsed_s


def main(library: str, seconds: str = "60") -> None:
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    busy.counters()
    control, _, (control_s, *_) = measure(library, float(seconds) / 3, lambda: None)
    readers, places, (elapsed_s, held_s, waited_s) = measure(library, float(seconds), busy.counters)
    threads, reads = sum(place.threads for place in places), sum(len(reader.found) for reader in readers)
    print(
        f"{threads} threads, {PLACES} at a time, and {reads / elapsed_s:.0f} readings per second, for {elapsed_s:.1f} s"
    )
    true_held_s = sum(one.held_ns for one in [*places, *readers]) / 1e9
    true_waited_s = sum(one.waited_ns for one in [*places, *(reader.pauses for reader in readers)]) / 1e9
    # Where in its microseconds the acquire or the release of a reader was is not known.
    uncertain = sum(reader.pauses.uncertain_ns for reader in readers) / 1e9 / true_held_s
    for name, found, truth in ("held", held_s, true_held_s), ("waited", waited_s, true_waited_s):
        print(f"{name}: {found:.6f} s, truth {truth:.6f} s, {100 * (found / truth - 1):+.4f} %")
    print(f"the true held time is uncertain by {100 * uncertain:.4f} %")
    fallen = sum(
        any(getattr(one, name) > getattr(other, name) for name in FIGURES)
        for reader in readers
        for one, other in itertools.pairwise(reader.found)
    )
    print(f"readings in which a figure fell: {fallen}")
    share, without = held_share(readers, elapsed_s), held_share(control, control_s)
    print(
        f"a reader held the GIL for {100 * share:.3f} % of the time, {100 * without:.3f} % without the readings: these "
        f"cost {100 * (share - without):.3f} %"
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
