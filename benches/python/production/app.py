"""The programs that services.py drives: `application` for gunicorn, `asgi_application` for uvicorn, and, as a script, a
worker of a pool. With COLLECTOR in the environment, each has the collector of busy.prometheus; with SWITCHED,
SIGRTMIN turns it on, and the next signal turns it off.
"""

import asyncio
import ctypes
import json
import os
import signal
import sqlite3
import threading
import zlib
from multiprocessing.connection import Client

import prometheus_client
from prometheus_client import multiprocess


class Switch:
    """A collector that signals turn on and off. It is off at first. Adds a line to a file in each state."""

    def __init__(self, file: str) -> None:
        self._libbusy = ctypes.PyDLL(f"{busy.get_library()}/libbusy.so.1")
        self._file = file
        # Starts the meter, which only the C functions can stop.
        self._collector: GilCollector | None = GilCollector(None)
        signal.signal(signal.SIGRTMIN, lambda *_: self._turn(True))
        signal.signal(signal.SIGRTMIN + 1, lambda *_: self._turn(False))
        self._turn(False)

    def _turn(self, on: bool) -> None:
        if on and not self._collector:
            assert self._libbusy.busy_gil_start() == 0
            assert self._libbusy.busy_gil_histograms_keep() == 0
            self._collector = GilCollector(None)
        elif self._collector and not on:
            self._collector.stop()
            self._collector = None
            assert self._libbusy.busy_gil_stop() == 0
        else:
            return
        with open(self._file, "a") as file:
            file.write(f"{os.getpid()} {'on' if self._collector else 'off'}\n")


if os.environ.get("COLLECTOR") or os.environ.get("SWITCHED"):
    import busy
    from busy.prometheus import GilCollector

    if file := os.environ.get("SWITCHED"):
        Switch(file)
    else:
        GilCollector()

_local = threading.local()


def work() -> bytes:
    """About half a millisecond: a query, during which sqlite3 releases the GIL eight times; JSON, which holds it; and
    compression, which releases it."""
    if not hasattr(_local, "database"):
        _local.database = sqlite3.connect(":memory:")
        _local.database.execute("create table t (a integer primary key, b text)")
        _local.database.executemany("insert into t values (?, ?)", [(i, str(i)) for i in range(1000)])
    rows = _local.database.execute("select a, b from t where a = 500").fetchall()
    answer = [{"id": a, "name": b, "tags": ["x", "y"], "score": a / 7} for a, b in rows * 400]
    return zlib.compress(json.dumps(answer).encode(), 1)


def metrics() -> bytes:
    registry = prometheus_client.REGISTRY
    if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        registry = prometheus_client.CollectorRegistry()
        multiprocess.MultiProcessCollector(registry)
    return prometheus_client.generate_latest(registry)


def application(environ, start_response):
    body = metrics() if environ["PATH_INFO"] == "/metrics" else work()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]


async def asgi_application(scope, receive, send):
    assert scope["type"] == "http"
    function = metrics if scope["path"] == "/metrics" else work
    body = await asyncio.get_running_loop().run_in_executor(None, function)
    headers = [(b"content-type", b"text/plain"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def main() -> None:
    """Serves tasks that come through a socket, one after the other. As in a worker of Celery, another thread beats."""
    beat = threading.Event()
    threading.Thread(target=lambda: [None for _ in iter(lambda: beat.wait(0.1), True)], daemon=True).start()
    with Client(("127.0.0.1", int(os.environ["PORT"])), authkey=os.environ["KEY"].encode()) as tasks:
        for _ in iter(tasks.recv, None):
            tasks.send_bytes(work())


if __name__ == "__main__":
    main()
