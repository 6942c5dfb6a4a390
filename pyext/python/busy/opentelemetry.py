"""The counters of the GIL for OpenTelemetry (pip install busy-gil[opentelemetry]).

`opentelemetry-instrument` finds the instrumentor by its entry point. By hand:

>>> from busy.opentelemetry import GilInstrumentor
>>> GilInstrumentor().instrument()

docs/production.md describes what each metric means.
"""

import logging
from collections.abc import Callable, Collection, Iterable
from typing import Any

from busy import __version__
from busy._counters import Counters, by_interpreter, counters
from busy._gil import GilNotMeterable

try:
    from opentelemetry.instrumentation.instrumentor import BaseInstrumentor  # type: ignore[attr-defined]
    from opentelemetry.metrics import CallbackOptions, Observation, get_meter
except ImportError as error:
    raise ImportError(
        f"busy.opentelemetry requires a package ({error}): pip install opentelemetry-instrumentation"
    ) from error

__all__ = ["GilInstrumentor"]

_LOG = logging.getLogger(__name__)

_TIMES: dict[str, tuple[str, Callable[[Counters], float]]] = {
    "cpython.gil.hold.time": ("Time that threads held the GIL.", lambda gil: gil.held_s),
    "cpython.gil.wait.time": (
        "Time that threads waited for the GIL, summed over the threads.",
        lambda gil: gil.waited_s,
    ),
}
_COUNTS: dict[str, tuple[str, str, Callable[[Counters], int]]] = {
    "cpython.gil.acquires": (
        "{acquire}",
        "Number of times that a thread acquired the GIL.",
        lambda gil: gil.acquisitions,
    ),
    "cpython.gil.forced_drops": (
        "{drop}",
        "Number of times that a thread dropped the GIL because another one requested it.",
        lambda gil: gil.forced_drops,
    ),
}
# OpenTelemetry has no histogram that is read at the time of the export, only one to which each value is passed. So each
# length is a counter of its own, with its upper bound in seconds as an attribute.
_HISTOGRAMS: dict[str, tuple[str, str, Callable[[Counters], tuple[int, ...]]]] = {
    "cpython.gil.hold.count": ("{hold}", "Number of holds of the GIL.", lambda gil: gil.histograms.holds),
    "cpython.gil.wait.count": ("{wait}", "Number of waits for the GIL.", lambda gil: gil.histograms.waits),
}


class GilInstrumentor(BaseInstrumentor):
    """Reports how long threads held the GIL and waited for it, as metrics of OpenTelemetry.

    The metering begins with `instrument()`, and goes on until the process ends. In a forked child, the metrics begin at
    the fork. If the GIL cannot be metered, the reason is logged, and there are no metrics: an application must not end
    because of its instrumentation.
    """

    # The provider whose instruments observe something, in a tuple, since None is the global one.
    _on: tuple[Any] | None = None
    _providers: list[Any] = []

    def instrumentation_dependencies(self) -> Collection[str]:
        """Returns no packages: CPython itself is instrumented."""
        return ()

    def _instrument(self, **kwargs: Any) -> None:
        try:
            counters()
        except GilNotMeterable as reason:
            _LOG.warning("there are no metrics of the GIL: %s", reason)
            return
        provider = kwargs.get("meter_provider")
        self._on = (provider,)
        # An instrument cannot be removed: after uninstrument(), it observes nothing.
        if any(provider is known for known in self._providers):
            return
        self._providers.append(provider)
        meter = get_meter("busy", __version__, meter_provider=provider)
        for name, (help_text, time_s) in _TIMES.items():
            meter.create_observable_counter(
                name, [self._observing(provider, time_s)], unit="s", description=help_text
            )
        for name, (unit, help_text, count) in _COUNTS.items():
            meter.create_observable_counter(
                name, [self._observing(provider, count)], unit=unit, description=help_text
            )
        for name, (unit, help_text, counts) in _HISTOGRAMS.items():
            meter.create_observable_counter(
                name, [self._observing_lengths(provider, counts)], unit=unit, description=help_text
            )

    def _uninstrument(self, **kwargs: Any) -> None:
        self._on = None

    def _observing(
        self, provider: Any, value: Callable[[Counters], float]
    ) -> Callable[[CallbackOptions], Iterable[Observation]]:
        def observe(_: CallbackOptions) -> Iterable[Observation]:
            for interpreter, gil in self._gils(provider):
                yield Observation(value(gil), {"cpython.interpreter.id": interpreter})

        return observe

    def _observing_lengths(
        self, provider: Any, counts: Callable[[Counters], tuple[int, ...]]
    ) -> Callable[[CallbackOptions], Iterable[Observation]]:
        def observe(_: CallbackOptions) -> Iterable[Observation]:
            for interpreter, gil in self._gils(provider):
                for below_s, count in zip(gil.histograms.below_s, counts(gil), strict=True):
                    attributes = {
                        "cpython.interpreter.id": interpreter,
                        "cpython.gil.duration.below": below_s,
                    }
                    yield Observation(count, attributes)

        return observe

    def _gils(self, provider: Any) -> Iterable[tuple[int, Counters]]:
        """Returns the counters of each GIL with the id of its interpreter, for the provider that is on; nothing for
        another one, and after uninstrument()."""
        if self._on is None or self._on[0] is not provider:
            return
        yield from by_interpreter(_LOG).items()
