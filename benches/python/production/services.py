"""Compares services while their collector of busy.prometheus is on with the same ones while it is off: gunicorn with
2 x 4 threads, uvicorn, and a pool of two workers, driven over loopback.

python services.py BUSY [ROUNDS [SECONDS]]

Prints the median ratios of throughput, and of the CPU time that a request costs the service, with the ranges of the
rounds. Then drives each service with one process once more, under `busy record` (BUSY is the command), and compares how
long the GIL was held between two scrapes: by the scraped counters, and by the holds in the recording.
"""

import collections
import contextlib
import http.client
import itertools
import json
import os
import re
import secrets
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Listener
from typing import NamedTuple

import prometheus_client
import psutil
from prometheus_client import multiprocess

# The command that runs a service, and its arguments before the service's own.
Recorder = Sequence[str]

FOLDER = os.path.dirname(os.path.abspath(__file__))
CLIENTS = 8
RECORD_S = 20
# The time for which a service is driven before its collector is turned on or off: the period of a collector that writes
# to files, which also writes when it is turned on.
TURN_S = 1.0


class Service:
    """A running service: its processes; the number of those with a collector; what opens a connection, which a call of
    the result uses for a request; the number of connections; and what returns its metrics."""

    def __init__(
        self,
        processes: Callable[[], list[psutil.Process]],
        workers: int,
        connect: Callable[[], Callable[[], bytes]],
        clients: int,
        metrics: Callable[[], bytes],
    ) -> None:
        self.processes, self.workers, self.connect = processes, workers, connect
        self.clients, self.metrics = clients, metrics

    def cpu_s(self) -> float:
        return sum(sum(process.cpu_times()[:2]) for process in self.processes())

    def drive(self, seconds: float) -> "Driven":
        """Sends requests from all clients for some seconds."""
        counts, end, before = [0] * self.clients, time.monotonic() + seconds, self.cpu_s()

        def send(index: int) -> None:
            request = self.connect()
            while time.monotonic() < end:
                request()
                counts[index] += 1

        threads = [threading.Thread(target=send, args=(index,)) for index in range(self.clients)]
        start = time.monotonic()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return Driven(sum(counts), time.monotonic() - start, self.cpu_s() - before)

    def scraped(self) -> tuple[float, float]:
        """Returns the time, and how long the GIL was held. In multi-process mode, the figures are written once per
        second: then both are those of a moment just after they were written."""
        first = None
        while True:
            at, text = time.monotonic(), self.metrics().decode()
            held_s = float(re.search(r"^python_gil_hold_seconds_total\{.*\} (.*)$", text, re.MULTILINE)[1])
            first = first or held_s
            if held_s != first:
                return at, held_s
            time.sleep(0.01)


def over_http(port: int, path: str) -> Callable[[], Callable[[], bytes]]:
    def connect() -> Callable[[], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)

        def request() -> bytes:
            connection.request("GET", path)
            response = connection.getresponse()
            body = response.read()
            assert response.status == 200, body
            return body

        return request

    return connect


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def environment(**more: str) -> dict[str, str]:
    path = os.pathsep.join([FOLDER, os.environ.get("PYTHONPATH", "")])
    return {**os.environ, "PYTHONPATH": path, **more}


@contextlib.contextmanager
def over_server(
    workers: int, recorder: Recorder, port: int, *command: str, **variables: str
) -> Iterator[Service]:
    process = psutil.Popen(
        [*recorder, sys.executable, "-m", *command],
        env=environment(**variables),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        for _ in range(300):
            with contextlib.suppress(OSError):
                over_http(port, "/")()()
                break
            time.sleep(0.1)
        else:
            raise RuntimeError(f"{command[0]} did not answer within 30 s")
        yield Service(
            lambda: [process, *process.children(recursive=True)],
            workers,
            over_http(port, "/"),
            CLIENTS,
            lambda: over_http(port, "/metrics")()(),
        )
    finally:
        process.terminate()
        process.wait(30)


@contextlib.contextmanager
def gunicorn(workers: int = 2, recorder: Recorder = (), **variables: str) -> Iterator[Service]:
    port = free_port()
    command = ["gunicorn", "app:application", "--bind", f"127.0.0.1:{port}", "--worker-class", "gthread"]
    command += ["--workers", str(workers), "--threads", "4"]
    with tempfile.TemporaryDirectory() as folder:
        variables["PROMETHEUS_MULTIPROC_DIR"] = folder
        with over_server(workers, recorder, port, *command, **variables) as service:
            yield service


@contextlib.contextmanager
def uvicorn(workers: int = 1, recorder: Recorder = (), **variables: str) -> Iterator[Service]:
    port = free_port()
    command = ["uvicorn", "app:asgi_application", "--port", str(port), "--log-level", "error"]
    with over_server(workers, recorder, port, *command, **variables) as service:
        yield service


@contextlib.contextmanager
def pool(workers: int = 2, recorder: Recorder = (), **variables: str) -> Iterator[Service]:
    folder, key = tempfile.mkdtemp(), secrets.token_hex()
    with Listener(("127.0.0.1", 0), authkey=key.encode()) as listener:
        variables |= {"PORT": str(listener.address[1]), "KEY": key, "PROMETHEUS_MULTIPROC_DIR": folder}
        command = [*recorder, sys.executable, os.path.join(FOLDER, "app.py")]
        processes = [psutil.Popen(command, env=environment(**variables)) for _ in range(workers)]
        # A worker that could not start never connects.
        listener._listener._socket.settimeout(30)  # type: ignore[attr-defined]
        connections = [listener.accept() for _ in processes]
    # Each of the clients gets one.
    turns = itertools.cycle(connections)

    def connect() -> Callable[[], bytes]:
        connection = next(turns)

        def request() -> bytes:
            connection.send("task")
            return connection.recv_bytes()

        return request

    def metrics() -> bytes:
        registry = prometheus_client.CollectorRegistry()
        multiprocess.MultiProcessCollector(registry, folder)
        return prometheus_client.generate_latest(registry)

    try:
        yield Service(lambda: processes, workers, connect, workers, metrics)
    finally:
        for connection in connections:
            connection.send(None)
        for process in processes:
            process.wait(30)
        shutil.rmtree(folder)


class Driven(NamedTuple):
    """What a service did: the requests that it answered, in how many seconds, with how many CPU seconds."""

    requests: int
    seconds: float
    cpu_s: float

    def throughput(self) -> float:
        return self.requests / self.seconds

    def cost(self) -> float:
        return self.cpu_s / self.requests


class Collectors:
    """The collectors of a service, each of which adds a line to a file when it is off or on, with its process id first.
    They are off at first."""

    def __init__(self, service: Service, file: str) -> None:
        self._file, self._workers = file, service.workers
        self._states = itertools.cycle([("off", signal.SIGRTMIN + 1), ("on", signal.SIGRTMIN)])
        self.turn()

    def turn(self) -> None:
        """Turns them on if they are off, and off if they are on. Sends the signal again to those that have not turned,
        since Python does not notice one that comes just before a system call."""
        wanted, number = next(self._states)
        for attempt in range(3000):
            states = self._read()
            others = [pid for pid, state in states.items() if state != wanted]
            if len(states) == self._workers and not others:
                return
            if attempt % 10 == 0:
                for pid in others:
                    os.kill(pid, number)
            time.sleep(0.01)
        raise RuntimeError(f"a collector was not turned {wanted} within 30 s")

    def _read(self) -> dict[int, str]:
        """Returns the state of each by its process id: the last line that it has added."""
        try:
            with open(self._file) as file:
                lines = [line.split() for line in file if line.endswith("\n")]
        except FileNotFoundError:
            return {}
        return {int(pid): state for pid, state in lines}


def ratios(name: str, service: Callable, rounds: int, seconds: float) -> None:
    # Of each round: what the service did in two turns that follow each other, without and with the collector.
    pairs: list[list[tuple[Driven, Driven]]] = []
    # New processes in each round, since two processes of one program differ by some percent for their whole lives.
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder, service(SWITCHED=f"{folder}/states") as running:
            collectors = Collectors(running, f"{folder}/states")
            running.drive(0.5)
            pairs.append([])
            # In the order off, on, on, off, since the machine may become slower or faster within seconds.
            for number in range(round(seconds / TURN_S)):
                first = running.drive(TURN_S)
                collectors.turn()
                second = running.drive(TURN_S)
                pairs[-1].append((first, second) if number % 2 == 0 else (second, first))
    for figure, of in ("throughput", Driven.throughput), ("CPU time of a request", Driven.cost):
        values = [[of(on) / of(off) for off, on in turns] for turns in pairs]
        medians = sorted(map(statistics.median, values))
        every = [value for turns in values for value in turns]
        without = statistics.median(of(off) for turns in pairs for off, _ in turns)
        print(
            f"{name}: {figure}, with the collector / without: {statistics.median(every):.4f} (median of {len(every)} "
            f"pairs of turns; the {rounds} rounds {medians[0]:.3f} to {medians[-1]:.3f}; {without:.4g} without)",
            flush=True,
        )


def agreement(name: str, service: Callable, busy: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        recording, trace = os.path.join(folder, "r.busy"), os.path.join(folder, "r.json")
        recorder = [busy, "record", "--output", recording, "--chrome", trace, "--"]
        with service(workers=1, recorder=recorder, COLLECTOR="1") as running:
            driver = threading.Thread(target=running.drive, args=(RECORD_S + 6,))
            driver.start()
            time.sleep(2)
            before, held_before = running.scraped()
            time.sleep(RECORD_S)
            after, held_after = running.scraped()
            driver.join()
        recorded = held_between(before, after, trace)
    scraped = held_after - held_before
    print(
        f"{name}: held for {scraped:.4f} s of {after - before:.4f} s as scraped, and for {recorded:.4f} s as recorded: "
        f"{100 * (scraped / recorded - 1):+.2f} %",
        flush=True,
    )


def held_between(start: float, end: float, trace: str) -> float:
    """Returns how long the process that held its GIL longest did so between two times of time.monotonic()."""
    held: collections.Counter[int] = collections.Counter()
    with open(trace) as file:
        for event in json.load(file)["traceEvents"]:
            if event["ph"] == "X" and event["name"] == "holds the GIL":
                begin = event["ts"] / 1e6
                held[event["pid"]] += max(0.0, min(end, begin + event["dur"] / 1e6) - max(start, begin))
    return max(held.values())


def main(busy: str, rounds: str = "10", seconds: str = "10") -> None:
    for name, service in ("gunicorn", gunicorn), ("uvicorn", uvicorn), ("pool", pool):
        ratios(name, service, int(rounds), float(seconds))
        agreement(name, service, busy)


if __name__ == "__main__":
    main(*sys.argv[1:])
