"""`busy run|check --dask`, on clusters of dask with processes over loopback."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time

import pytest

pytest.importorskip("distributed", reason="dask.distributed is not installed")
import psutil
from busy._installation import NotInstalled, command
from distributed import Client, LocalCluster

try:
    BUSY = command()
except NotInstalled as reason:
    pytest.skip(str(reason), allow_module_level=True)


def environment(folder, options=""):
    """The command finds distributed by the python3 of PATH. What it keeps goes into `folder`."""
    (folder / "bin").mkdir()
    python = folder / "bin" / "python3"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} {options} "$@"\n')
    python.chmod(0o755)
    path = f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "VIRTUAL_ENV": "", "XDG_STATE_HOME": str(folder / "state")}


@pytest.fixture(scope="module")
def cluster():
    """A cluster of two worker processes, each with one thread."""
    with local() as cluster:
        yield cluster


def local():
    return LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, host="127.0.0.1", dashboard_address="127.0.0.1:0"
    )


def busy(folder, *arguments, timeout=240, **options):
    """Return the exit code, the document if there is one, and stderr."""
    arguments = [BUSY, arguments[0], "--json", "-", *arguments[1:]]
    done = subprocess.run(
        arguments, capture_output=True, text=True, timeout=timeout, env=environment(folder), **options
    )
    return done.returncode, json.loads(done.stdout) if done.stdout else None, done.stderr


def workers_of(cluster):
    return sorted(cluster.scheduler_info["workers"])


def addresses(document):
    return [row["host"]["worker"]["address"] for row in document["results"]]


def until(check, seconds=30):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = check()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(f"not within {seconds} s")


def commands_that_run(mark):
    """Return the processes whose command line has `mark`."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        if any(mark in part for part in process.info["cmdline"] or ()) and process.pid != os.getpid():
            found.append(process)
    return found


def test_a_check_has_a_row_of_each_worker_with_its_host(cluster, tmp_path):
    statement = "sum(range(300000))"
    code, document, errors = busy(
        tmp_path, "check", statement, "--dask", cluster.scheduler_address, "--patience", "1s"
    )
    assert code in (0, 3), errors
    assert addresses(document) == workers_of(cluster)
    for row in document["results"]:
        assert (row["kind"], row["statement"], row["status"]) == ("check", statement, "ok"), row
        assert row["verdict"] in ("holds", "yields", "inconclusive"), row
        assert row["host"]["cores"] > 0 and row["host"]["worker"]["host_name"] == socket.gethostname()
        # Without -p, the worker's own interpreter is measured.
        assert row["interpreter"]["command"] == sys.executable


def test_a_run_has_a_row_of_each_worker_and_is_kept_apart_from_runs_of_this_machine(cluster, tmp_path):
    code, document, errors = busy(
        tmp_path, "run", "ctypes", "-d", "1", "--patience", "10ms", "--dask", cluster.scheduler_address
    )
    # What the experiment shows on a loaded machine is no matter of this test.
    assert code in (0, 1, 3), errors
    assert addresses(document) == workers_of(cluster)
    for row in document["results"]:
        assert (row["kind"], row["experiment"], row["status"], row["seconds"]) == (
            "run",
            "ctypes",
            "ok",
            1,
        ), row
        assert {case["case"] for case in row["cases"]} >= {
            "one-internal",
            "two-internal",
            "internal+external",
        }
    kept = list((tmp_path / "state" / "busy" / "runs").rglob("*.json"))
    assert [file.parent.name for file in kept] == ["hosts"]
    assert json.loads(kept[0].read_text()) == document


def test_options_and_operands_reach_the_workers_as_they_are(cluster, tmp_path):
    statement = "-len(text)  # 'quoted' \"twice\" $HOME\u20ac"
    code, document, errors = busy(
        tmp_path, "check", "-s", "import os", "-s", "text = '-s' * 100_000", "--expect", "holds", "--expect", "yields",
        "--max-stall", "20ms", "--patience", "10ms", "-p", sys.executable, "-p", "9.9",
        "--dask", cluster.scheduler_address, "--", statement,
    )  # fmt: skip
    for row in document["results"]:
        assert row["statement"] == statement and row["setup"] == "import os\ntext = '-s' * 100_000"
        assert (row["expected"], row["max_stall_s"]) == (["holds", "yields"], 0.02)
        assert row["interpreter"]["command"] == sys.executable
    assert errors.count("skipped: there is no Python 9.9 here") == 2, errors


def test_the_table_names_the_workers(cluster, tmp_path):
    done = subprocess.run(
        [BUSY, "check", "sum(range(300000))", "--dask", cluster.scheduler_address, "--patience", "10ms"],
        capture_output=True, text=True, timeout=240, env=environment(tmp_path),
    )  # fmt: skip
    for address in workers_of(cluster):
        # In the table, and before the line on its machine.
        assert done.stdout.count(address.removeprefix("tcp://")) >= 2, done.stdout


def test_what_fails_on_a_host_is_a_row_with_the_reason(cluster, tmp_path):
    code, document, _ = busy(
        tmp_path, "check", "pass", "-p", "/no/python", "--dask", cluster.scheduler_address
    )
    assert code == 1 and addresses(document) == workers_of(cluster)
    for row in document["results"]:
        assert row["status"] == "failed" and "/no/python" in row["reason"], row
        assert (
            "interpreter" not in row
            and "cpu" not in row["host"]
            and row["missing"]["interpreter"] == row["reason"]
        )


def test_the_time_out_of_a_host_ends_all_that_runs_there(cluster, tmp_path):
    mark = f"timeout_{os.getpid()}"
    code, document, _ = busy(
        tmp_path, "check", f"import time; time.sleep(3000); {mark}", "--timeout", "1h", "--patience", "10ms",
        "--host-timeout", "3s", "--dask", cluster.scheduler_address,
    )  # fmt: skip
    assert code == 1
    for row in document["results"]:
        assert row["status"] == "failed" and "did not end within 3 s (--host-timeout)" in row["reason"], row
    until(lambda: not commands_that_run(mark))


class Running:
    """A check on the cluster that does not end by itself."""

    def __init__(self, cluster, folder, statement="time.sleep(3000)"):
        # The processes of the check are found by it.
        self.mark = f"endless_{os.getpid()}_{time.monotonic_ns()}"
        arguments = [
            "-s",
            "import os, time",
            f"{statement}  # {self.mark}",
            "--timeout",
            "1h",
            "--patience",
            "10ms",
        ]
        self.process = subprocess.Popen(
            [BUSY, "check", *arguments, "--dask", cluster.scheduler_address, "--json", "-"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(folder),
        )

    def __enter__(self):
        until(self.on_workers)
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.communicate()

    def own(self):
        return [psutil.Process(self.process.pid), *psutil.Process(self.process.pid).children(recursive=True)]

    def on_workers(self):
        """Return true once the script of the check, which is started last, runs below a worker."""
        own = {process.pid for process in self.own()}
        there = [process for process in commands_that_run(self.mark) if process.pid not in own]
        return any("check.py" in part for process in there for part in process.info["cmdline"])

    def has_left_nothing(self):
        return not commands_that_run(self.mark)


def test_a_worker_that_is_killed_meanwhile_is_a_failed_row_and_the_rest_goes_on(tmp_path):
    begun, flag = tmp_path / "begun", tmp_path / "flag"
    endless = f"[open({str(begun)!r}, 'w').close(), time.sleep(3000)]"
    statement = f"sum(range(300000)) if os.path.exists({str(flag)!r}) else {endless}"
    with local() as cluster:
        before = workers_of(cluster)
        pids = {nanny.worker_address: nanny.pid for nanny in cluster.workers.values()}
        with Running(cluster, tmp_path, statement) as running:
            until(begun.exists)
            flag.touch()
            # Workers of one machine take turns, in this order.
            os.kill(pids[before[0]], signal.SIGKILL)
            output, errors = running.process.communicate(timeout=120)
            assert running.process.returncode == 1, errors
            until(running.has_left_nothing)
    document = json.loads(output)
    assert addresses(document) == before
    killed, other = document["results"]
    assert killed["status"] == "failed" and "left the cluster" in killed["reason"], killed
    assert other["status"] == "ok" and other["verdict"] in ("holds", "yields", "inconclusive"), other


@pytest.mark.parametrize("number, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_a_command_that_is_ended_leaves_nothing_on_the_workers(cluster, tmp_path, number, code):
    with Running(cluster, tmp_path) as running:
        running.process.send_signal(number)
        running.process.communicate(timeout=60)
        assert running.process.returncode == code
        until(running.has_left_nothing)


def test_the_loss_of_the_scheduler_fails_the_rows(tmp_path):
    with contextlib.ExitStack() as stack:
        port = free_port()
        scheduler = dask(stack, "scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard")
        address = f"tcp://127.0.0.1:{port}"
        dask(stack, "worker", address, "--host", "127.0.0.1", "--no-nanny", "--no-dashboard")
        with Client(address, timeout=60) as client:
            client.wait_for_workers(1, timeout=60)
            client.scheduler_address = address
            with Running(client, tmp_path) as running:
                scheduler.kill()
                output, errors = running.process.communicate(timeout=120)
                assert running.process.returncode == 1, errors
                (row,) = json.loads(output)["results"]
                assert row["status"] == "failed" and "scheduler" in row["reason"], row
                until(running.has_left_nothing)


def test_the_command_opens_no_port(cluster, tmp_path):
    with Running(cluster, tmp_path) as running:
        own = running.own()
        assert any("dask_hosts.py" in part for process in own for part in process.cmdline())
        for process in own:
            listening = [one for one in process.net_connections("inet") if one.status == psutil.CONN_LISTEN]
            assert not listening, (process.cmdline(), listening)


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def dask(stack, role, *arguments, **variables):
    """Start a scheduler or a worker, which ends with the stack."""
    process = subprocess.Popen(
        [sys.executable, "-m", f"distributed.cli.dask_{role}", *arguments],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, **variables},
    )  # fmt: skip

    def end():
        process.kill()
        process.wait()

    stack.callback(end)
    return process


def test_of_several_hosts_each_has_one_row_and_one_without_busy_fails(cluster, tmp_path):
    # Another package that is called busy, as on PyPI.
    other = tmp_path / "other" / "busy"
    other.mkdir(parents=True)
    (other / "__init__.py").touch()
    with contextlib.ExitStack() as stack:
        address = cluster.scheduler_address
        local = ["--no-nanny", "--no-dashboard", "--local-directory", str(tmp_path)]
        dask(stack, "worker", address, "--host", "127.0.0.2", *local, PYTHONPATH=str(other.parent))
        until(lambda: len(workers_of(cluster)) == 3)
        code, document, errors = busy(
            tmp_path, "check", "sum(range(300000))", "--patience", "10ms", "--dask", address
        )
    until(lambda: len(workers_of(cluster)) == 2)
    assert code == 1, errors
    first, second = document["results"]
    assert [one.split(":")[1] for one in addresses(document)] == ["//127.0.0.1", "//127.0.0.2"]
    assert first["status"] == "ok" and second["status"] == "failed"
    assert "has no busy-gil" in second["reason"] and "PipInstall" in second["reason"]


@pytest.mark.parametrize("accepts", [False, True])
def test_without_a_scheduler_the_command_ends_in_time_with_the_reason(tmp_path, accepts):
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        if not accepts:
            server.close()
        begun = time.monotonic()
        code, document, errors = busy(tmp_path, "check", "pass", "--dask", address)
        assert (code, document) == (2, None)
        assert f"busy: no scheduler of dask answers at {address} within 10 s" in errors, errors
        assert time.monotonic() - begun < 60


def test_a_cluster_without_workers_is_refused(tmp_path):
    with LocalCluster(
        n_workers=0, processes=True, host="127.0.0.1", dashboard_address="127.0.0.1:0"
    ) as empty:
        code, _, errors = busy(tmp_path, "check", "pass", "--dask", empty.scheduler_address)
    assert code == 2 and "has no workers" in errors, errors


def test_a_python_without_distributed_is_named_with_the_remedy(tmp_path):
    arguments = [BUSY, "check", "pass", "--dask", "tcp://127.0.0.1:1"]
    done = subprocess.run(
        arguments, capture_output=True, text=True, timeout=60, env=environment(tmp_path, "-I -S")
    )
    if os.path.isfile(os.path.join(os.path.dirname(BUSY), "python")):
        pytest.skip("busy is installed beside a Python that has distributed, which it uses")
    assert done.returncode == 2 and "pip install distributed" in done.stderr, done.stderr


def test_time_outs_and_resumes_are_refused_where_they_have_no_meaning(tmp_path):
    for arguments in (
        ["check", "pass", "--host-timeout", "3s"],
        ["run", "ctypes", "--resume", "--dask", "tcp://127.0.0.1:1"],
    ):
        done = subprocess.run([BUSY, *arguments], capture_output=True, text=True, timeout=60)
        assert done.returncode == 2 and "usage" in done.stderr.lower(), done.stderr
