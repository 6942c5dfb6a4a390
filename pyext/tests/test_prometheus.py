"""busy.prometheus, with the real prometheus_client and a scrape over loopback."""

import os
import subprocess
import sys
import textwrap

import pytest

pytest.importorskip("prometheus_client")
if not getattr(sys, "_is_gil_enabled", lambda: True)():
    pytest.skip("there is no GIL to meter in this interpreter", allow_module_level=True)

SCRAPE = """
import busy, os, time, threading, urllib.request
from prometheus_client import CollectorRegistry, multiprocess, start_http_server
from prometheus_client.parser import text_string_to_metric_families

def parsed(text):
    return {
        (sample.name, *(f"{key}={value}" for key, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }

def scrape(registry, accept="text/plain"):
    server, thread = start_http_server(0, addr="127.0.0.1", registry=registry)
    try:
        request = urllib.request.Request(f"http://127.0.0.1:{server.server_port}/metrics", headers={"Accept": accept})
        return urllib.request.urlopen(request, timeout=30).read().decode()
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

def contend():
    gate = threading.Barrier(2)
    def waits():
        gate.wait()
        busy.without_lock(0.01)
    thread = threading.Thread(target=waits)
    thread.start()
    gate.wait()
    time.sleep(0.002)
    busy.with_lock(0.1)
    thread.join()
"""


def run(code, **environment):
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", SCRAPE + textwrap.dedent(code)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_scrape_has_the_counters_and_the_histograms():
    run("""
        from busy.prometheus import GilCollector
        registry = CollectorRegistry()
        GilCollector(registry)
        contend()
        before = busy.counters()
        found = parsed(scrape(registry))
        after = busy.counters()
        main = "interpreter=0"
        for name, one, other in [
            ("python_gil_hold_seconds_total", before.held_s, after.held_s),
            ("python_gil_wait_seconds_total", before.waited_s, after.waited_s),
            ("python_gil_acquires_total", before.acquisitions, after.acquisitions),
            ("python_gil_forced_drops_total", before.forced_drops, after.forced_drops),
            ("python_gil_hold_duration_seconds_count", sum(before.histograms.holds), sum(after.histograms.holds)),
            ("python_gil_wait_duration_seconds_count", sum(before.histograms.waits), sum(after.histograms.waits)),
            ("python_gil_hold_duration_seconds_sum", before.held_s, after.held_s),
        ]:
            assert one <= found[name, main] <= other, (name, one, found[name, main], other)
        assert found["python_gil_hold_seconds_total", main] >= 0.1
        buckets = {
            float(key[2].removeprefix("le=")): value
            for key, value in found.items() if key[0] == "python_gil_hold_duration_seconds_bucket"
        }
        assert len(buckets) == 26 and list(buckets.values()) == sorted(buckets.values()), buckets
        # The hold of 0.1 s is above 0.065536 s.
        assert buckets[float("inf")] - buckets[0.065536] >= 1, buckets
        # No label has a value that grows without bound.
        assert {part for key in found for part in key[1:] if not part.startswith("le=")} == {main}
    """)


def test_a_scrape_in_the_openmetrics_format_is_valid():
    run("""
        from busy.prometheus import GilCollector
        from prometheus_client.openmetrics.parser import text_string_to_metric_families
        registry = CollectorRegistry()
        GilCollector(registry)
        text = scrape(registry, accept="application/openmetrics-text; version=1.0.0")
        families = {family.name for family in text_string_to_metric_families(text)}
        assert families == {
            "python_gil_hold_seconds", "python_gil_wait_seconds", "python_gil_acquires", "python_gil_forced_drops",
            "python_gil_hold_duration_seconds", "python_gil_wait_duration_seconds",
        }, families
    """)


def test_a_collector_is_in_the_default_registry_once():
    run("""
        from busy.prometheus import GilCollector
        from prometheus_client import REGISTRY
        collector = GilCollector()
        assert REGISTRY.get_sample_value("python_gil_acquires_total", {"interpreter": "0"}) is not None
        try:
            GilCollector()
        except ValueError as error:
            assert "Duplicated" in str(error)
        else:
            raise AssertionError("expected a refusal by the registry")
        REGISTRY.unregister(collector)
    """)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork(2)")
@pytest.mark.parametrize("created", ["before the fork", "after the fork"])
def test_in_multi_process_mode_a_scrape_of_one_process_adds_up_all(created, tmp_path):
    run(
        """
        from busy.prometheus import GilCollector
        before = os.environ["CREATED"] == "before the fork"
        collector = GilCollector(period_s=0.05) if before else None
        workers = []
        for _ in range(2):
            reading, writing = os.pipe()
            child = os.fork()
            if child == 0:
                try:
                    collector = collector or GilCollector(period_s=0.05)
                    contend()
                    busy.with_lock(0.2)
                    collector.stop()
                    os.write(writing, f"{busy.counters().held_s} {busy.counters().acquisitions}".encode())
                finally:
                    os._exit(0)
            os.close(writing)
            workers.append((child, reading))
        own = busy.counters().held_s if before else 0
        held = [own]
        for child, reading in workers:
            assert os.waitpid(child, 0)[1] == 0
            held.append(float(os.read(reading, 100).split()[0]))
        registry = CollectorRegistry()
        multiprocess.MultiProcessCollector(registry)
        time.sleep(0.2)
        found = parsed(scrape(registry))
        main = "interpreter=0"
        total = found["python_gil_hold_seconds_total", main]
        most = sum(held) + (busy.counters().held_s - own if before else 0)
        assert 2 * 0.3 <= total <= most, (total, held, most)
        assert found["python_gil_hold_duration_seconds_bucket", main, "le=+Inf"] == \
            found["python_gil_hold_duration_seconds_count", main] > 0
        assert found["python_gil_wait_seconds_total", main] > 0
        # A registry with both collectors has each metric once.
        if before:
            assert not list(collector.collect())
        """,
        PROMETHEUS_MULTIPROC_DIR=str(tmp_path),
        CREATED=created,
    )


def test_in_multi_process_mode_several_collectors_write_the_figures_once(tmp_path):
    run(
        """
        from busy.prometheus import GilCollector
        def total():
            registry = CollectorRegistry()
            multiprocess.MultiProcessCollector(registry)
            return parsed(scrape(registry))["python_gil_hold_seconds_total", "interpreter=0"]
        first = GilCollector(CollectorRegistry(), period_s=0.05)
        contend()
        second = GilCollector(CollectorRegistry(), period_s=0.05)
        time.sleep(0.2)
        assert 0.1 <= total() <= busy.counters().held_s
        for collector in first, first, second:
            collector.stop()
        time.sleep(0.2)
        stopped = total()
        contend()
        assert total() == stopped
        # What was held meanwhile belongs to the process.
        GilCollector(CollectorRegistry(), period_s=0.05)
        time.sleep(0.2)
        assert stopped + 0.1 <= total() <= busy.counters().held_s
        """,
        PROMETHEUS_MULTIPROC_DIR=str(tmp_path),
    )


def test_after_ctrl_c_during_the_stop_the_figures_are_written_nevertheless(tmp_path):
    run(
        """
        import signal
        from busy import prometheus
        signal.signal(signal.SIGINT, signal.default_int_handler)
        def total():
            registry = CollectorRegistry()
            multiprocess.MultiProcessCollector(registry)
            return parsed(scrape(registry))["python_gil_hold_seconds_total", "interpreter=0"]
        collector = prometheus.GilCollector(CollectorRegistry(), period_s=1000)
        gils = prometheus._gils
        def read_slowly():
            time.sleep(0.5)
            return gils()
        prometheus._gils = read_slowly
        contend()
        threading.Timer(0.1, os.kill, [os.getpid(), signal.SIGINT]).start()
        try:
            collector.stop()
        except KeyboardInterrupt:
            pass
        else:
            raise AssertionError("the stop was not interrupted")
        collector.stop()
        assert 0.1 <= total() <= busy.counters().held_s, total()
        assert "busy.prometheus" not in [thread.name for thread in threading.enumerate()]
        """,
        PROMETHEUS_MULTIPROC_DIR=str(tmp_path),
    )


def test_a_fork_does_not_wait_for_the_lock_of_prometheus_client(tmp_path):
    run(
        """
        from busy.prometheus import GilCollector
        from prometheus_client import Counter
        GilCollector(CollectorRegistry(), period_s=0.05)
        counter, over = Counter("mine", "", registry=CollectorRegistry()), threading.Event()
        def count():
            while not over.is_set():
                counter.inc()
        threads = [threading.Thread(target=count) for _ in range(4)]
        [thread.start() for thread in threads]
        import signal
        for _ in range(30):
            pid = os.fork()
            if not pid:
                signal.alarm(20)
                time.sleep(0.01)
                os._exit(0)
            assert os.waitpid(pid, 0)[1] == 0
        over.set()
        """,
        PROMETHEUS_MULTIPROC_DIR=str(tmp_path),
    )


def test_a_page_goes_on_without_these_metrics_if_the_gil_can_no_longer_be_metered(tmp_path):
    code = """
        import logging, sys
        import busy._counters
        logging.basicConfig(stream=sys.stdout, format="%(name)s: %(message)s")
        from busy.prometheus import GilCollector
        from prometheus_client import Counter, generate_latest
        registry = CollectorRegistry()
        collector = GilCollector(registry, period_s=0.05)
        Counter("mine", "", registry=registry)
        def refuse(_):
            raise RuntimeError("another tool")
        busy._counters.counters_read = refuse
        for _ in range(3):
            page = generate_latest(registry).decode()
            assert "mine_total" in page and "python_gil" not in page, page
        time.sleep(0.2)
        if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
            assert "busy.prometheus" in [thread.name for thread in threading.enumerate()]
        collector.stop()
    """
    line = "busy.prometheus: there are no more metrics of the GIL: another tool\n"
    assert run(code) == line
    assert run(code, PROMETHEUS_MULTIPROC_DIR=str(tmp_path)) == line


def test_a_collector_after_one_that_could_not_start_writes(tmp_path):
    folder = tmp_path / "prometheus"
    run(
        """
        from busy.prometheus import GilCollector
        folder = os.environ["PROMETHEUS_MULTIPROC_DIR"]
        try:
            GilCollector(CollectorRegistry())
        except OSError:
            pass
        else:
            raise AssertionError("expected an error without the folder")
        os.mkdir(folder)
        collector = GilCollector(CollectorRegistry(), period_s=0.05)
        assert "busy.prometheus" in [thread.name for thread in threading.enumerate()]
        def size():
            registry = CollectorRegistry()
            multiprocess.MultiProcessCollector(registry)
            return registry.get_sample_value("python_gil_acquires_total", {"interpreter": "0"})
        before = size()
        for _ in range(100):
            time.sleep(0.002)
        assert size() > before
        collector.stop()
        """,
        PROMETHEUS_MULTIPROC_DIR=str(folder),
    )


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork(2)")
def test_a_forked_child_that_executes_another_program_writes_no_files(tmp_path):
    run(
        """
        import subprocess
        from busy.prometheus import GilCollector
        collector = GilCollector(CollectorRegistry())
        files = set(os.listdir(os.environ["PROMETHEUS_MULTIPROC_DIR"]))
        for _ in range(20):
            # Long enough for a thread that writes at once.
            subprocess.run(["true"], preexec_fn=lambda: time.sleep(0.02), check=True)
        assert set(os.listdir(os.environ["PROMETHEUS_MULTIPROC_DIR"])) == files
        """,
        PROMETHEUS_MULTIPROC_DIR=str(tmp_path),
    )


@pytest.mark.parametrize("multi_process", [False, True])
def test_a_period_for_which_no_thread_can_wait_is_refused(multi_process, tmp_path):
    run(
        """
        from busy.prometheus import GilCollector
        for period_s, kind in [
            (0, ValueError), (-1, ValueError), (float("nan"), ValueError), (float("inf"), ValueError),
            (2 * threading.TIMEOUT_MAX, ValueError), ("1s", TypeError), (None, TypeError), (True, TypeError),
        ]:
            try:
                GilCollector(CollectorRegistry(), period_s=period_s)
            except kind as error:
                assert "period_s: expected a number of seconds, more than 0" in str(error), error
                assert str(error).endswith(f", found {period_s!r}"), error
            else:
                raise AssertionError(f"expected {kind} for {period_s!r}")
        # No user is left behind: the end of the only one ends the thread.
        GilCollector(CollectorRegistry(), period_s=0.05).stop()
        time.sleep(0.2)
        assert "busy.prometheus" not in [thread.name for thread in threading.enumerate()]
        """,
        **({"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)} if multi_process else {}),
    )


def test_without_prometheus_client_the_error_names_the_package():
    run("""
        import sys
        sys.modules["prometheus_client"] = None
        for name in [name for name in sys.modules if name.startswith("prometheus_client.")]:
            sys.modules[name] = None
        try:
            import busy.prometheus
        except ImportError as error:
            assert "pip install prometheus_client" in str(error)
        else:
            raise AssertionError("expected an ImportError")
    """)
