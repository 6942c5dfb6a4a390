"""How soon does the stall log name a stall of a running service, and does it stay short?

python stall_log.py [TIMES]

A web service of threads answers requests, one of which stalls the others by json.dumps for some 300 ms, TIMES times.
Prints how long after the end of each stall its line came, and how many lines name the right function. Then makes
10,000 stalls per minute, for a minute, and prints how many lines these became.
"""

import collections
import http.client
import http.server
import json
import logging
import statistics
import sys
import threading
import time

import busy

data = list(range(100_000))


class Lines(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[tuple[float, logging.LogRecord]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append((time.monotonic(), record))


def report() -> bytes:
    return json.dumps(data).encode()


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = report() if self.path == "/report" else b"ok"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def get(port: int, path: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", path)
    connection.getresponse().read()
    connection.close()


def service(lines: Lines, times: int) -> None:
    json.dumps(data)
    start = time.perf_counter()
    json.dumps(data)
    data.extend(range(int(len(data) * 0.3 / (time.perf_counter() - start))))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    port, over = server.server_port, threading.Event()

    def others() -> None:
        while not over.is_set():
            get(port, "/")
            time.sleep(0.005)

    threads = [threading.Thread(target=others) for _ in range(4)]
    for thread in threads:
        thread.start()
    with busy.log_stalls("100ms"):
        for _ in range(times):
            get(port, "/report")
            time.sleep(0.3)
        time.sleep(1)
    over.set()
    for thread in threads:
        thread.join()
    server.shutdown()
    found = [(at, record.gil_stall) for at, record in lines.lines if hasattr(record, "gil_stall")]
    if not found:
        raise RuntimeError(f"no line came for {times} stalls: are there enough cores?")
    late_ms = sorted(1e3 * (at - stall.at_s - stall.held_s) for at, stall in found)
    named = sum(
        any("stall_log.py" in frame and "report" in frame for frame in stall.stack) for _, stall in found
    )
    held_ms = [1e3 * stall.held_s for _, stall in found]
    print(
        f"{times} stalls of {statistics.median(held_ms):.0f} ms by json.dumps: {len(found)} lines, {named} with the "
        f"function, {statistics.median(late_ms):.1f} ms after the end in the median, {late_ms[-1]:.1f} ms at most"
    )


def flood(lines: Lines, seconds: float = 60, stalls: int = 10_000) -> None:
    lines.lines.clear()
    over, made = threading.Event(), 0

    def wait() -> None:
        while not over.is_set():
            time.sleep(0.0001)

    thread = threading.Thread(target=wait)
    thread.start()
    with busy.log_stalls("2ms"):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            busy.with_lock(0.003)
            made += 1
            time.sleep(seconds / stalls - 0.003)
    over.set()
    thread.join()
    if not lines.lines:
        raise RuntimeError(f"no line came for {made} stalls: are there enough cores?")
    texts = collections.Counter("more" in record.getMessage() for _, record in lines.lines)
    print(
        f"{made} stalls in {seconds:.0f} s: {len(lines.lines)} lines, {texts[True]} of them on the number of others"
    )
    print(f"the last one: {lines.lines[-1][1].getMessage()}")


def main(times: str = "20") -> None:
    lines = Lines()
    logger = logging.getLogger("busy")
    logger.addHandler(lines)
    logger.propagate = False
    service(lines, int(times))
    flood(lines)


if __name__ == "__main__":
    main(*sys.argv[1:])
