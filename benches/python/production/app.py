"""The programs that services.py drives: `application` for gunicorn, `asgi_application` for uvicorn, and, as a script, a
worker of a pool. With COLLECTOR in the environment, each has the collector of busy.prometheus.
"""

import asyncio
import json
import os
import sqlite3
import threading
import zlib
from multiprocessing.connection import Client

import prometheus_client
from prometheus_client import multiprocess

if os.environ.get("COLLECTOR"):
    from busy.prometheus import GilCollector

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
