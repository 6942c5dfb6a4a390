"""busy.opentelemetry, with the real SDK."""

import os
import subprocess
import sys
import textwrap

import pytest

pytest.importorskip("opentelemetry.sdk")
pytest.importorskip("opentelemetry.instrumentation")
if not getattr(sys, "_is_gil_enabled", lambda: True)():
    pytest.skip("there is no GIL to meter in this interpreter", allow_module_level=True)

READ = """
import busy, os, threading, time
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

def read(reader):
    data = reader.get_metrics_data()
    return {} if data is None else {
        (metric.name, *(f"{key}={value}" for key, value in sorted(point.attributes.items()))): point.value
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        for point in metric.data.data_points
    }
"""


def run(code):
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", READ + textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "OTEL_METRICS_EXPORTER": "none"},
    )
    assert done.returncode == 0, done.stderr
    return done


def test_the_metrics_are_the_counters():
    run("""
        from busy.opentelemetry import GilInstrumentor
        reader = InMemoryMetricReader()
        provider = MeterProvider([reader])
        GilInstrumentor().instrument(meter_provider=provider)
        busy.with_lock(0.1)
        before = busy.counters()
        found = read(reader)
        after = busy.counters()
        main = "cpython.interpreter.id=0"
        for name, one, other in [
            ("cpython.gil.hold.time", before.held_s, after.held_s),
            ("cpython.gil.wait.time", before.waited_s, after.waited_s),
            ("cpython.gil.acquires", before.acquisitions, after.acquisitions),
            ("cpython.gil.forced_drops", before.forced_drops, after.forced_drops),
        ]:
            assert one <= found[name, main] <= other, (name, one, found[name, main], other)
        assert found["cpython.gil.hold.time", main] >= 0.1
        time.sleep(0.001)
        holds = {key[1]: value for key, value in read(reader).items() if key[0] == "cpython.gil.hold.count"}
        assert len(holds) == 26 and holds["cpython.gil.duration.below=0.131072"] >= 1, holds
        GilInstrumentor().uninstrument()
        assert not read(reader)
        GilInstrumentor().instrument(meter_provider=provider)
        assert read(reader)["cpython.gil.hold.time", main] >= 0.1
    """)


def test_only_the_latest_provider_gets_metrics():
    run("""
        from busy.opentelemetry import GilInstrumentor
        readers = [InMemoryMetricReader() for _ in range(2)]
        providers = [MeterProvider([reader]) for reader in readers]
        instrumentor = GilInstrumentor()
        for on in (0, 1, 0):
            instrumentor.instrument(meter_provider=providers[on])
            assert [bool(read(reader)) for reader in readers] == [on == 0, on == 1]
            instrumentor.uninstrument()
            assert not any(map(read, readers))
    """)


def test_metrics_end_with_one_line_in_the_log_if_the_gil_can_no_longer_be_metered():
    done = run("""
        import busy._counters
        from busy.opentelemetry import GilInstrumentor
        reader = InMemoryMetricReader()
        GilInstrumentor().instrument(meter_provider=MeterProvider([reader]))
        def refuse(_):
            raise RuntimeError("another tool")
        busy._counters.counters_read = refuse
        assert not read(reader) and not read(reader)
    """)
    assert done.stderr == "there are no more metrics of the GIL: another tool\n"


def test_the_units_and_the_scope_are_named():
    run("""
        from busy.opentelemetry import GilInstrumentor
        reader = InMemoryMetricReader()
        GilInstrumentor().instrument(meter_provider=MeterProvider([reader]))
        [resource] = reader.get_metrics_data().resource_metrics
        [scope] = resource.scope_metrics
        assert (scope.scope.name, scope.scope.version) == ("busy", busy.__version__)
        units = {metric.name: metric.unit for metric in scope.metrics}
        assert units == {
            "cpython.gil.hold.time": "s", "cpython.gil.wait.time": "s", "cpython.gil.acquires": "{acquire}",
            "cpython.gil.forced_drops": "{drop}", "cpython.gil.hold.count": "{hold}",
            "cpython.gil.wait.count": "{wait}",
        }, units
        assert all(metric.data.is_monotonic for metric in scope.metrics)
    """)


def test_opentelemetry_finds_the_instrumentor_by_its_entry_point():
    run("""
        from importlib.metadata import entry_points
        [found] = entry_points(group="opentelemetry_instrumentor", name="busy_gil")
        assert found.load()().instrumentation_dependencies() == ()
        from opentelemetry.instrumentation.auto_instrumentation import _load
        from opentelemetry.instrumentation.distro import DefaultDistro
        _load._load_instrumentors(DefaultDistro())
        assert found.load()().is_instrumented_by_opentelemetry
    """)


def test_where_the_gil_cannot_be_metered_the_program_goes_on():
    done = run("""
        import busy._counters
        def refuse():
            raise RuntimeError("as planned")
        busy._counters.counters_begin = refuse
        from busy.opentelemetry import GilInstrumentor
        reader = InMemoryMetricReader()
        GilInstrumentor().instrument(meter_provider=MeterProvider([reader]))
        assert not read(reader)
    """)
    assert "there are no metrics of the GIL: as planned" in done.stderr
