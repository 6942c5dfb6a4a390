"""A thread that wants the GIL every millisecond: whoever keeps it makes somebody wait, and a watch tells how long."""

import threading
import time

from busy._beside import Beside
from busy._watch import watch


class Probe(Beside):
    """Runs while the block does."""

    def begin(self) -> None:
        self.tid = threading.get_native_id()

    def work(self) -> None:
        time.sleep(0.001)


def longest_stall_s(w: watch) -> float:
    """The longest that one thread kept another waiting: no longer than that waited, nor than another held the GIL at
    once, so that what the machine kept a thread off its cores for does not count."""
    return max(
        (
            min(
                waits.longest_wait_s,
                max((one.longest_hold_s for one in w.threads.values() if one is not waits), default=0),
            )
            for waits in w.threads.values()
        ),
        default=0.0,
    )
