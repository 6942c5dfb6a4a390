"""The GIL meter for the workers of a dask cluster (pip install busy-gil[dask], on each worker).

>>> from busy.dask import GilMeter
>>> client.register_plugin(GilMeter())

docs/production.md describes what it reports.
"""

import collections
import logging
import math
import os
import threading
import time
from typing import Any

from busy import _bounds, _stalls
from busy._counters import Counters, counters
from busy._gil import GilNotMeterable

try:
    from distributed.diagnostics.plugin import WorkerPlugin
except ImportError as error:
    raise ImportError(
        f"busy.dask requires the package distributed ({error}): pip install distributed"
    ) from error

__all__ = ["GilMeter", "KnockKnock"]

_LOG = logging.getLogger("busy.dask")
#: The number of tasks, the latest ones, that are remembered for the stall log.
_TASKS = 1000


class KnockKnock:
    """Has the interface of gilknocker's KnockKnock, and is backed by the exact meter.

    gilknocker measures how long a thread of its own waits for the GIL. Here, the metric is the share of time for which
    any thread held the GIL. It needs no thread, and no interval.
    """

    def __init__(self, *_: Any, **__: Any) -> None:
        """Takes the arguments of gilknocker: intervals and a time-out, for which there is nothing to do here."""
        self._since: Counters | None = None
        self._process = os.getpid()
        self._metric = 0.0

    def start(self) -> None:
        """Starts measuring, unless it is measuring already. Raises GilNotMeterable if the GIL cannot be metered."""
        if not self._since:
            self._begin()

    def _begin(self) -> None:
        self._since, self._process = counters(), os.getpid()

    def stop(self) -> None:
        """Stops measuring. The metric keeps its value."""
        self._metric, self._since = self.contention_metric, None

    def reset_contention_metric(self) -> None:
        """Begins the share anew."""
        self._metric = 0.0
        if self._since:
            try:
                self._begin()
            except GilNotMeterable:
                # The metric shows it. A monitor that resets it goes on.
                pass

    @property
    def contention_metric(self) -> float:
        """The share of time for which the GIL was held since the start, or since the reset: 0 to 1. NaN if the GIL can
        no longer be metered. In a forked child, since the fork."""
        since = self._since
        if not since:
            return self._metric
        try:
            now = counters()
        except GilNotMeterable:
            return math.nan
        held_s, elapsed_s = now.held_s, now.metered_s
        # In a forked child, the counters begin at the fork.
        if self._process == os.getpid():
            held_s, elapsed_s = held_s - since.held_s, elapsed_s - since.metered_s
        return min(1.0, held_s / elapsed_s) if elapsed_s > 0 else 0.0

    @property
    def is_running(self) -> bool:
        """True between the start and the stop."""
        return self._since is not None


class GilMeter(WorkerPlugin):
    """Meters the GIL of each worker of a dask cluster.

    - Each worker's metrics get `gil`: the sums of busy.counters().
    - The worker's page for Prometheus gets the metrics of busy.prometheus, if prometheus_client is installed.
    - distributed's system monitor shows `gil_contention` as the exact share of time for which the GIL was held.
    - The worker's log gets a line for each hold of the GIL of `threshold` or longer that made other threads wait, as
      busy.log_stalls() writes it, with the key of the task.

    `threshold` is a time such as "100ms", or a number of seconds; at least a millisecond and less than 1e9 seconds, or
    else ValueError is raised.
    A worker whose GIL cannot be metered logs the reason, and runs as before.
    """

    name = "busy.dask.GilMeter"

    def __init__(self, threshold: str | float = "100ms") -> None:
        self.threshold_s = _bounds.parse_threshold(threshold, "1ms")

    def setup(self, worker: Any) -> None:
        """Begins to meter. distributed calls it."""
        self._parts: list[Any] = []
        try:
            counters()
            tasks = _Tasks(worker.active_threads)
            log = _stalls.Reporter(self.threshold_s, lambda stall, missed: _log(worker, tasks, stall, missed))
        except GilNotMeterable as reason:
            _LOG.warning("the GIL of worker %s is not metered: %s", worker.address, reason)
            return
        self._log = log
        worker.active_threads = tasks
        worker.metrics["gil"] = _metrics
        _monitor(worker.monitor)
        _export()

    def teardown(self, worker: Any) -> None:
        """Stops the log. The metering goes on. distributed calls it."""
        log = self.__dict__.get("_log")
        if log:
            log.stop()
            if isinstance(worker.active_threads, _Tasks):
                worker.active_threads = worker.active_threads.data
            worker.metrics.pop("gil", None)
            # The last step, so that a call after one that Ctrl-C has interrupted does the rest.
            del self._log


class _Tasks(collections.UserDict[int, Any]):
    """The `active_threads` of a worker: the key of the task that each thread runs. distributed changes it under a
    lock.

    The keys stay in the dict that the worker had before, since a task removes its key from the dict that was in place
    when the task was submitted."""

    def __init__(self, active_threads: dict[int, Any]) -> None:
        super().__init__()
        self.data = active_threads
        now = time.monotonic()
        #: The key of the latest task of each thread, and its start. Tasks that run already count from now on.
        self._begun = {ident: (key, now) for ident, key in active_threads.copy().items()}
        self._ended: collections.deque[tuple[int, Any, float, float]] = collections.deque(maxlen=_TASKS)

    def __setitem__(self, ident: int, task: Any) -> None:
        self._begun[ident] = task, time.monotonic()
        super().__setitem__(ident, task)

    def __delitem__(self, ident: int) -> None:
        super().__delitem__(ident)
        self._ended.append((ident, *self._begun.pop(ident), time.monotonic()))

    def copy(self) -> dict[int, Any]:  # type: ignore[override] # the profiler's, in which tasks do not change
        return self.data.copy()

    def during(self, ident: int, at_s: float) -> Any:
        """Returns the key of the task that the thread ran at that time; None if it ran none."""
        for other, key, begun_s, ended_s in reversed(tuple(self._ended)):
            if other == ident and begun_s <= at_s <= ended_s:
                return key
        key, begun_s = self._begun.get(ident, (None, math.inf))
        # A task that began before the plugin ends without a note.
        return key if begun_s <= at_s and self.get(ident) == key else None


def _log(worker: Any, tasks: _Tasks, stall: "_stalls.Stall | None", missed: int) -> None:
    if missed:
        _LOG.warning("%d stalls of the GIL of worker %s came too fast to be logged", missed, worker.address)
    if stall:
        idents = {thread.native_id: thread.ident for thread in threading.enumerate()}
        ident = idents.get(stall.tid)
        key = None if ident is None else tasks.during(ident, stall.at_s + stall.held_s / 2)
        task = f"task {key!r}: " if key is not None else ""
        _LOG.warning("%s%s", task, _stalls.describe(stall), extra={"gil_stall": stall, "dask_key": key})


def _metrics(_: Any) -> dict[str, float]:
    """Returns the sums for the heartbeat of a worker."""
    gil = counters()
    return {
        "metered_s": gil.metered_s,
        "held_s": gil.held_s,
        "waited_s": gil.waited_s,
        "acquisitions": gil.acquisitions,
        "forced_drops": gil.forced_drops,
    }


def _monitor(monitor: Any) -> None:
    """Makes the system monitor of a worker use the exact meter, in place of gilknocker if that is installed."""
    if monitor.monitor_gil_contention:
        monitor._gilknocker.stop()
    else:
        # With a first value, since a heartbeat reads the latest one, and would close the worker if there were none.
        monitor.quantities["gil_contention"] = collections.deque([0.0], maxlen=monitor.maxlen)
        monitor._last_gil_contention = monitor.cumulative_gil_contention = 0.0
    monitor._gilknocker = KnockKnock()
    monitor._gilknocker.start()
    monitor.monitor_gil_contention = True


def _export() -> None:
    """Adds the metrics to the page for Prometheus, once in a process, which may run several workers."""
    try:
        from busy.prometheus import GilCollector
    except ImportError:
        return
    global _collector
    if not _collector:
        try:
            _collector = GilCollector()
        except ValueError:
            _LOG.info(
                "the metrics of the GIL are on the page for Prometheus already, by a GilCollector of the program"
            )


_collector: Any = None
