"""The counters of the GIL for prometheus_client (pip install busy-gil[prometheus]).

>>> from busy.prometheus import GilCollector
>>> GilCollector()  # in the default registry

docs/production.md describes what each metric means.
"""

import atexit
import logging
import math
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from busy import _bounds, _call_under
from busy._counters import Counters, by_interpreter, counters
from busy._own_thread import OwnThread

try:
    from prometheus_client import values
    from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
    from prometheus_client.registry import REGISTRY, Collector, CollectorRegistry
    from prometheus_client.utils import floatToGoString
except ImportError as error:
    raise ImportError(
        f"busy.prometheus requires the package prometheus_client ({error}): pip install prometheus_client"
    ) from error

__all__ = ["GilCollector"]

_LOG = logging.getLogger(__name__)

# A histogram needs a name of its own: in the OpenMetrics format, the counter python_gil_hold_seconds_total belongs to
# the family python_gil_hold_seconds.
_COUNTERS: dict[str, tuple[str, Callable[[Counters], float]]] = {
    "python_gil_hold_seconds": ("Time that threads held the GIL.", lambda gil: gil.held_s),
    "python_gil_wait_seconds": (
        "Time that threads waited for the GIL, summed over the threads.",
        lambda gil: gil.waited_s,
    ),
    "python_gil_acquires": ("Number of times that a thread acquired the GIL.", lambda gil: gil.acquisitions),
    "python_gil_forced_drops": (
        "Number of times that a thread dropped the GIL because another one requested it.",
        lambda gil: gil.forced_drops,
    ),
}
_HISTOGRAMS: dict[str, tuple[str, Callable[[Counters], tuple[Iterable[int], float]]]] = {
    "python_gil_hold_duration_seconds": (
        "Duration of the holds of the GIL.",
        lambda gil: (gil.histograms.holds, gil.held_s),
    ),
    "python_gil_wait_duration_seconds": (
        "Duration of the waits for the GIL.",
        lambda gil: (gil.histograms.waits, gil.waited_s),
    ),
}


class GilCollector(Collector):
    """Reports how long threads held the GIL and waited for it, as metrics of a prometheus_client registry.

    The metering begins when the collector is created, and goes on until the process ends. All metrics have one label,
    `interpreter`: 0 is the main interpreter; other interpreters have a GIL of their own (CPython 3.12 and later).

    In prometheus_client's multi-process mode (PROMETHEUS_MULTIPROC_DIR, for example under gunicorn), each process
    writes its counters to the files of that mode once per `period_s` seconds, and when it ends; MultiProcessCollector
    adds them up. Create the collector before or after the fork: a forked child continues to write, with counters of its
    own, first when it has lived for `period_s`.

    Raises GilNotMeterable, a RuntimeError, if the GIL cannot be metered. If that is so only later, because another tool
    redirects the calls that the meter redirects, the reason is logged, and the metrics are missing. Raises ValueError
    or TypeError if `period_s` is not a number of seconds above zero.
    """

    def __init__(self, registry: CollectorRegistry | None = REGISTRY, *, period_s: float = 1.0) -> None:
        period_s = _bounds.parse_period(period_s, "period_s")
        counters()
        self._writer = _Writer.started(self, period_s) if values.ValueClass._multiprocess else None
        self._is_stopped = False
        if registry:
            registry.register(self)

    def collect(self) -> Iterator[Metric]:
        """Yields the metrics of this process. In multi-process mode there are none, since those of the files count."""
        if self._writer:
            return
        gils = _gils()
        if not gils:
            return
        for name, (help_text, value) in _COUNTERS.items():
            family = CounterMetricFamily(name, help_text, labels=["interpreter"])
            for interpreter, gil in gils.items():
                family.add_metric([interpreter], value(gil))
            yield family
        for name, (help_text, of) in _HISTOGRAMS.items():
            histogram = HistogramMetricFamily(name, help_text, labels=["interpreter"])
            for interpreter, gil in gils.items():
                counts, sum_s = of(gil)
                histogram.add_metric([interpreter], list(_cumulative(gil, counts)), sum_s)
            yield histogram

    def describe(self) -> list[Metric]:
        """Returns the names of the metrics, so that a registry does not collect them in order to learn the names."""
        if self._writer:
            return []
        families: list[Metric] = [CounterMetricFamily(name, help) for name, (help, _) in _COUNTERS.items()]
        return families + [HistogramMetricFamily(name, help) for name, (help, _) in _HISTOGRAMS.items()]

    def stop(self) -> None:
        """In multi-process mode, write the counters once more, and never again. The metering goes on."""
        if self._writer and not self._is_stopped:
            self._writer.stop(self)
            # The last step, so that a call after one that Ctrl-C has interrupted does the rest.
            self._is_stopped = True


def _gils() -> dict[str, Counters]:
    """Returns the counters of each GIL by its label."""
    return {str(interpreter): gil for interpreter, gil in by_interpreter(_LOG).items()}


def _cumulative(gil: Counters, counts: Iterable[int]) -> Iterator[tuple[str, float]]:
    total = 0
    for below_s, count in zip(gil.histograms.below_s, counts, strict=True):
        total += count
        yield floatToGoString(below_s), total


class _Writer:
    """Writes the counters to the files of the multi-process mode, in a thread of its own: one in a process, for all
    collectors, since the values in a file are those of the process."""

    def __init__(self) -> None:
        # The collectors, and the shortest of their periods.
        self._users: set[GilCollector] = set()
        self._period_s = math.inf
        self._thread: OwnThread | None = None
        # Held while values are written, and by a fork: a forked child would inherit it closed for ever.
        self._lock = threading.RLock()
        self._over = threading.Event()
        self._forget()
        os.register_at_fork(
            before=self._lock.acquire, after_in_parent=self._lock.release, after_in_child=self._begin_anew
        )
        atexit.register(self._end)

    @staticmethod
    def started(user: GilCollector, period_s: float) -> "_Writer":
        """Returns the writer, which has one user more."""

        def start() -> None:
            global _writer
            _writer = _writer or _Writer()
            # A first start may fail, for example without the folder.
            if not _writer._users:
                _writer.write()
                _writer._begin(period_s)
            _writer._users.add(user)
            _writer._period_s = min(_writer._period_s, period_s)

        _call_under(_starting, start)
        assert _writer
        return _writer

    def _forget(self) -> None:
        # What was written of each value. A value of prometheus_client starts with what a process with the same id left
        # in the file, so only differences are added.
        self._written: dict[tuple[str, ...], float] = {}
        self._values: dict[tuple[str, ...], Any] = {}
        # With a lock of its own, which no thread of the program holds while another one forks, and so with own files.
        self._class = values.MultiProcessValue(lambda: f"{os.getpid()}busy")

    def _begin(self, period_s: float) -> None:
        self._period_s = period_s
        self._over = threading.Event()
        self._thread = OwnThread("busy.prometheus", self._run, self._over)
        self._thread.start()

    def _begin_anew(self) -> None:
        global _starting
        self._lock.release()
        # Another thread of the parent may have had it.
        _starting = threading.RLock()
        self._forget()
        if self._users:
            self._begin(self._period_s)

    def _run(self, over: threading.Event) -> None:
        # In a forked child, not at once: it may only execute another program.
        while not over.wait(self._period_s):
            self.write()
        # Not in stop(): Ctrl-C only ever interrupts the main thread.
        self.write()

    def stop(self, user: GilCollector) -> None:
        """Takes a user away. After the last one, the thread writes once more, and ends. After Ctrl-C, it may be called
        again."""

        def take_away() -> None:
            self._users.discard(user)
            if not self._users:
                self._over.set()

        _call_under(_starting, take_away)
        if self._over.is_set() and self._thread:
            self._thread.wait()

    def _end(self) -> None:
        if self._users:
            self.write()

    def write(self) -> None:
        _call_under(self._lock, self._write)

    def _write(self) -> None:
        for interpreter, gil in _gils().items():
            labels = {"interpreter": interpreter}
            for name, (help_text, value) in _COUNTERS.items():
                self._add("counter", name, f"{name}_total", labels, help_text, value(gil))
            for name, (help_text, of) in _HISTOGRAMS.items():
                counts, sum_s = of(gil)
                self._add("histogram", name, f"{name}_sum", labels, help_text, sum_s)
                # The files have the counts of each bucket alone; MultiProcessCollector adds them up.
                for below_s, count in zip(gil.histograms.below_s, counts, strict=True):
                    bucket = {**labels, "le": floatToGoString(below_s)}
                    self._add("histogram", name, f"{name}_bucket", bucket, help_text, count)

    def _add(
        self, kind: str, name: str, sample: str, labels: dict[str, str], help_text: str, now: float
    ) -> None:
        key = (sample, *labels.values())
        if key not in self._values:
            self._values[key] = self._class(kind, name, sample, [*labels], [*labels.values()], help_text)
        more = now - self._written.get(key, 0)
        # Zero as well, the first time: a series must not appear only when its first event has come.
        if more > 0 or key not in self._written:
            self._values[key].inc(more)
            self._written[key] = now


_writer: _Writer | None = None
_starting = threading.RLock()
