"""The prober of a watch: a thread that requests the GIL every millisecond, so that a long hold makes it wait."""

import threading
import time

from busy._background import BackgroundThread
from busy._watch import watch


class WatchProber(BackgroundThread):
    """Requests the GIL every millisecond while the block runs."""

    def begin(self) -> None:
        self.tid = threading.get_native_id()

    def work(self) -> None:
        time.sleep(0.001)


def longest_stall_s(w: watch) -> float:
    """Returns the longest time that one thread kept another waiting for the GIL.

    It is bounded by the wait of the one and by the longest hold of another, so that time without a core does not count.
    """
    return max(
        (
            min(
                waiter.longest_wait_s,
                max((other.longest_hold_s for other in w.threads.values() if other is not waiter), default=0),
            )
            for waiter in w.threads.values()
        ),
        default=0.0,
    )
