"""The prober of a watch: a thread that requests the GIL every millisecond, so that a long hold makes it wait."""

import threading

from busy._background import Prober
from busy._gil import GilWindow, ThreadRow
from busy._watch import watch


class WatchProber(Prober):
    """Requests the GIL every millisecond while the block runs. All other threads may stall it."""

    def __init__(self) -> None:
        super().__init__(_Meter(), set(), 0.001)

    def stalls(self, w: watch) -> tuple[float, float]:
        """Returns the upper and the lower bound, in seconds, of the longest time for which one thread kept another
        waiting for the GIL. Several threads that hold the GIL in turn do not add up."""
        longest = max((one.longest_hold_s for tid, one in w.threads.items() if tid != self.tid), default=0.0)
        upper = min(self.stall, longest)
        return upper, max(0.0, min(self.least_stall, upper))

    def held_shares(self, w: watch) -> tuple[float, float]:
        """Returns the upper and the lower bound of the held share, without this thread's own holds: run delays may have
        made the holds longer."""
        own = w.threads[self.tid].held_s if self.tid in w.threads else 0.0
        held, delay = max(0.0, w.held_share * w.wall_s - own), min(self.delay, w.wall_s)
        return held / max(w.wall_s, 1e-9), max(0.0, held - delay) / max(w.wall_s - delay, 1e-9)

    def end(self) -> None:
        super().end()
        self._meter.close()


class _Meter:
    """The meter of the compiled module, as `Prober` needs it."""

    def __init__(self) -> None:
        self._window = GilWindow()
        self.close = self._window.close

    def snapshot(self) -> tuple[int, dict[int, ThreadRow]]:
        reading = self._window.read()
        return reading.gil.metered_ns, {row.tid: row for row in reading.rows}

    def tid(self) -> int:
        return threading.get_native_id()
