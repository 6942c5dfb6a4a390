"""busy.dask, on a cluster of dask with processes over loopback."""

import os
import subprocess
import sys
import textwrap
import types

import pytest

pytest.importorskip("distributed", reason="dask.distributed is not installed")
if not getattr(sys, "_is_gil_enabled", lambda: True)():
    pytest.skip("there is no GIL to meter in this interpreter", allow_module_level=True)

CLUSTER = """
import busy, json, logging, re, sys, time, urllib.request
from distributed import Client, LocalCluster, Nanny
from busy.dask import GilMeter, KnockKnock

def cluster(**options):
    return LocalCluster(
        n_workers=2, threads_per_worker=2, processes=True, host="127.0.0.1", dashboard_address="127.0.0.1:0", **options
    )

def hold_the_gil(seconds):
    import busy
    busy.with_lock(seconds)
    return True

def until(check):
    for _ in range(100):
        found = check()
        if found:
            return found
        time.sleep(0.1)
    raise AssertionError("not within 10 s")
"""


def run(code):
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", CLUSTER + textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=120,
        env=os.environ,
    )
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stderr + done.stdout


def test_each_worker_reports_its_gil_and_logs_stalls_with_the_key_of_the_task():
    run("""
        if __name__ == "__main__":
            with cluster() as local, Client(local) as client:
                client.register_plugin(GilMeter("50ms"))
                workers = list(client.scheduler_info()["workers"])
                def collect(dask_worker):
                    import logging
                    class Lines(logging.Handler):
                        found = []
                        def emit(self, record):
                            self.found.append((record.dask_key, record.gil_stall.held_s, record.getMessage()))
                    dask_worker.lines = Lines()
                    logging.getLogger("busy.dask").addHandler(dask_worker.lines)
                client.run(collect)
                def stalled(key):
                    done = client.submit(hold_the_gil, 0.4, key=key, workers=workers[:1], pure=False)
                    assert done.result(timeout=60)
                    time.sleep(0.3)
                    lines = client.run(lambda dask_worker: dask_worker.lines.found, workers=workers[:1])[workers[0]]
                    return [line for line in lines if line[0] == key]
                found = next(filter(None, (stalled(f"hold-{number}") for number in range(5))), None)
                assert found, client.run(lambda dask_worker: dask_worker.lines.found)
                key, held_s, message = found[0]
                assert held_s >= 0.4 and message.startswith(f"task {key!r}: GIL held for "), message
                assert "hold_the_gil" in message, message

                def held():
                    metrics = [worker["metrics"] for worker in client.scheduler_info()["workers"].values()]
                    return all("gil" in one for one in metrics) and max(one["gil"]["held_s"] for one in metrics) >= 0.4
                until(held)
                metrics = client.scheduler_info()["workers"][workers[0]]["metrics"]
                assert 0 <= metrics["gil_contention"] <= 1, metrics

                ports = client.run(lambda dask_worker: dask_worker.http_server.port)
                url = f"http://127.0.0.1:{ports[workers[0]]}/metrics"
                page = urllib.request.urlopen(url, timeout=30).read().decode()
                assert float(re.search(r"^python_gil_hold_seconds_total.* (\\S+)$", page, re.M)[1]) >= 0.4
                assert re.search(r"^dask_worker_gil_contention_seconds_total ", page, re.M), page

                client.unregister_worker_plugin(GilMeter.name)
                names = client.run(lambda: [one.name for one in __import__("threading").enumerate()])
                assert all("busy.stalls" not in of_worker for of_worker in names.values()), names
    """)


def test_tasks_that_run_while_the_plugin_comes_or_goes_know_their_key():
    run("""
        def keys(number):
            from distributed import get_worker
            worker = get_worker()
            before = worker.get_current_task()
            worker.waiting = True
            until(lambda: not worker.waiting)
            return before, worker.get_current_task()

        if __name__ == "__main__":
            options = {"n_workers": 1, "threads_per_worker": 2, "processes": False, "dashboard_address": None}
            with LocalCluster(**options) as local, Client(local) as client:
                [worker] = local.workers.values()
                def running(change):
                    worker.waiting = False
                    done = client.submit(keys, 0, key=f"while {change.__name__}", pure=False)
                    until(lambda: worker.waiting)
                    change()
                    assert list(worker.active_threads.copy().values()) == [done.key], worker.active_threads
                    worker.waiting = False
                    assert done.result(timeout=60) == (done.key, done.key)
                    until(lambda: not worker.active_threads)
                def register():
                    client.register_plugin(GilMeter())
                def unregister():
                    client.unregister_worker_plugin(GilMeter.name)
                for change in register, unregister, register, unregister:
                    running(change)
                assert type(worker.active_threads) is dict
    """)


def test_a_teardown_after_one_that_ctrl_c_has_interrupted_does_the_rest():
    from busy.dask import GilMeter, _Tasks

    class Log:
        stops = 0

        def stop(self):
            self.stops += 1
            if self.stops == 1:
                raise KeyboardInterrupt

    tasks = {7: "key"}
    worker = types.SimpleNamespace(active_threads=_Tasks(tasks), metrics={"gil": None})
    meter = GilMeter()
    meter._log = Log()
    with pytest.raises(KeyboardInterrupt):
        meter.teardown(worker)
    meter.teardown(worker)
    assert worker.active_threads is tasks and not worker.metrics


def test_a_worker_that_is_restarted_is_metered_again():
    run("""
        if __name__ == "__main__":
            with cluster() as local, Client(local) as client:
                client.register_plugin(GilMeter())
                client.restart()
                client.wait_for_workers(2)
                until(lambda: all("gil" in one["metrics"] for one in client.scheduler_info()["workers"].values()))
    """)


def test_a_monitor_without_gilknocker_has_a_value_from_the_start():
    import collections
    import types

    from busy import dask

    monitor = types.SimpleNamespace(monitor_gil_contention=False, quantities={}, maxlen=9)
    dask._monitor(monitor)
    # SystemMonitor.recent() takes the latest value of each quantity.
    assert {name: values[-1] for name, values in monitor.quantities.items()} == {"gil_contention": 0.0}
    assert (
        isinstance(monitor.quantities["gil_contention"], collections.deque)
        and monitor._last_gil_contention == 0
    )


def test_the_metric_of_knockknock_is_the_share_of_time_for_which_the_gil_is_held():
    run("""
        knocker = KnockKnock(polling_interval_micros=1000)
        assert not knocker.is_running and knocker.contention_metric == 0
        knocker.start()
        assert knocker.is_running
        def share(hold_s, release_s, tries=10):
            # On a loaded machine, some of the time is spent without a core.
            best = 1
            for _ in range(tries):
                knocker.reset_contention_metric()
                end = time.monotonic() + 0.3
                while time.monotonic() < end:
                    busy.with_lock(hold_s)
                    busy.without_lock(release_s)
                found, expected = knocker.contention_metric, hold_s / (hold_s + release_s)
                if abs(found - expected) < abs(best - expected):
                    best = found
            return best
        found = [share(0.05, 0), share(0.05, 0.05), share(0, 0.05)]
        assert found[0] > 0.98 and abs(found[1] - 0.5) < 0.1 and found[2] < 0.02, found
        knocker.stop()
        last = knocker.contention_metric
        busy.with_lock(0.05)
        assert not knocker.is_running and knocker.contention_metric == last
        knocker.reset_contention_metric()
        assert knocker.contention_metric == 0
    """)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork(2)")
def test_in_a_forked_child_the_metric_of_knockknock_begins_at_the_fork():
    run("""
        import os
        busy.counters()
        busy.with_lock(0.3)
        knocker = KnockKnock()
        knocker.start()
        pid = os.fork()
        if not pid:
            busy.with_lock(0.1)
            held = knocker.contention_metric
            knocker.reset_contention_metric()
            busy.without_lock(0.1)
            os._exit(0 if 0.9 < held <= 1 and 0 <= knocker.contention_metric < 0.5 else 1)
        assert os.waitpid(pid, 0)[1] == 0
    """)


def test_the_metric_of_knockknock_is_unknown_if_the_gil_can_no_longer_be_metered():
    run("""
        import math
        import busy._counters
        knocker = KnockKnock()
        knocker.start()
        def refuse(_):
            raise RuntimeError("another tool")
        busy._counters.counters_read = refuse
        assert math.isnan(knocker.contention_metric)
        knocker.reset_contention_metric()
        knocker.stop()
    """)
