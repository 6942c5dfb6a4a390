"""docs/production.md: its middleware runs, and its dashboard and alerts use metrics that exist."""

import asyncio
import json
import pathlib
import re
import sys
import threading

import busy
import pytest

DOCS = pathlib.Path(__file__).parents[2] / "docs"
if not DOCS.is_dir():
    pytest.skip("the documentation is not here", allow_module_level=True)
if not getattr(sys, "_is_gil_enabled", lambda: True)():
    pytest.skip("there is no GIL to meter in this interpreter", allow_module_level=True)


def middleware(kind):
    """Returns the class GilTiming for "wsgi" or "asgi"."""
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / "production.md").read_text(), re.DOTALL)
    [code] = [
        block for block in blocks if "class GilTiming" in block and ("await" in block) == (kind == "asgi")
    ]
    names = {}
    exec(code, names)
    return names["GilTiming"]


def milliseconds(timing):
    found = re.fullmatch(r"gil-hold;dur=([\d.]+), gil-wait;dur=([\d.]+)", timing)
    return [float(number) for number in found.groups()]


def test_the_wsgi_middleware_adds_the_times_of_the_request():
    def app(environ, start_response):
        busy.with_lock(0.05)
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"done"]

    started = []
    body = middleware("wsgi")(app)({}, lambda status, headers: started.append((status, dict(headers))))
    [(status, headers)] = started
    assert (body, status, headers["Content-Type"]) == ([b"done"], "200 OK", "text/plain")
    held_ms, waited_ms = milliseconds(headers["Server-Timing"])
    assert 50 <= held_ms < 10_000 and waited_ms >= 0


def test_the_asgi_middleware_times_each_request_alone():
    gate = []

    async def app(scope, receive, send):
        assert await receive() == {"type": "http.request"}
        if scope["path"] == "/holds":
            busy.with_lock(0.2)
        # The other request holds the GIL in the same thread in the meantime.
        gate.append(scope["path"])
        while len(gate) < 2:
            await asyncio.sleep(0.001)
        try:
            await asyncio.wait_for(asyncio.Event().wait(), 0.01)
        except asyncio.TimeoutError:
            pass
        await send({"type": "http.response.start", "status": 200, "headers": [(b"a", b"b")]})
        await send({"type": "http.response.body", "body": b"done"})

    async def request(path):
        sent = []

        async def receive():
            return {"type": "http.request"}

        async def send(message):
            sent.append(message)

        await middleware("asgi")(app)({"type": "http", "path": path}, receive, send)
        start, body = sent
        assert body["body"] == b"done" and start["headers"][0] == (b"a", b"b")
        return milliseconds(dict(start["headers"])[b"server-timing"].decode())

    async def both():
        return await asyncio.gather(request("/idles"), request("/holds"))

    idle, holds = asyncio.run(both())
    assert holds[0] >= 200 and idle[0] < 150, (idle, holds)


def test_the_asgi_middleware_passes_errors_on():
    async def app(scope, receive, send):
        raise KeyError("as planned")

    with pytest.raises(KeyError, match="as planned"):
        asyncio.run(middleware("asgi")(app)({}, None, None))


def test_the_dashboard_and_the_alerts_use_metrics_that_exist():
    prometheus_client = pytest.importorskip("prometheus_client")
    from busy.prometheus import GilCollector

    registry = prometheus_client.CollectorRegistry()
    GilCollector(registry)
    thread = threading.Thread(target=busy.without_lock, args=(0,))
    thread.start()
    thread.join()
    exported = prometheus_client.generate_latest(registry).decode()
    names = set(re.findall(r"^(\w+)\{", exported, re.MULTILINE))
    bounds = set(re.findall(r'le="([^"]+)"', exported))

    dashboard = json.loads((DOCS / "grafana.json").read_text())
    expressions = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    assert len(dashboard["panels"]) == 4
    text = (DOCS / "production.md").read_text()
    expressions += re.findall(r"\| `([^`]*python_gil_[^`]*\[[^`]*)` \|", text)
    assert len(expressions) == 7 + 3, expressions
    for expression in expressions:
        used = set(re.findall(r"python_gil_\w+", expression))
        assert used and used <= names, (expression, used - names)
        assert set(re.findall(r'le="([^"]+)"', expression)) <= bounds, expression
    documented = set(re.findall(r"^\| `(python_gil_\w+)` \|", text, re.MULTILINE))
    assert {re.sub(r"_(bucket|count|sum)$", "", name) for name in names} == documented
