"""The page of a recording in a browser: what it draws, its keys, and that it loads nothing.

It needs a Chromium: BUSY_CHROMIUM names it, or else it is looked for on PATH.
"""

import collections
import ctypes.util
import json
import os
import pathlib
import shutil
import subprocess
import sys

import pytest

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

CHROMIUM = os.environ.get("BUSY_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
BUSY = pathlib.Path(__file__).parents[2] / "target" / "release" / "busy"
LIBBUSY = BUSY.with_name("libbusy.so")
COLOURS = {"holds": (0, 114, 178), "waits": (213, 94, 0)}

pytestmark = [
    pytest.mark.skipif(
        not CHROMIUM, reason="there is no Chromium: apt install chromium, or set BUSY_CHROMIUM"
    ),
    pytest.mark.skipif(not ctypes.util.find_library("c"), reason="the program needs a C library"),
]

# The thread `hold` holds the GIL for 60 ms, five times, and prints when, on the clock of the recording. From 3.14 on,
# its native name could be taken for HTML.
PROGRAM = """
import ctypes, threading, time
nap = ctypes.PyDLL(None).usleep
def hold():
    for _ in range(5):
        begin = time.monotonic_ns()
        nap(60_000)
        print(begin, time.monotonic_ns())
        time.sleep(0.06)
thread = threading.Thread(target=hold, name="<script>alert(1)</script>")
thread.start()
while thread.is_alive():
    time.sleep(0.002)
"""


# The talk's experiments: a Python thread beside a native call that releases the GIL, and beside one that holds it.
INTERNAL = """
import threading, time
def internal():
    end = time.monotonic() + 1.4
    while time.monotonic() < end:
        pass
thread = threading.Thread(target=internal)
thread.start()
"""
TALK = {
    "ctypes": INTERNAL
    + """
import ctypes, sys
ctypes.CDLL(sys.argv[1]).busy_wait(1)
thread.join()
""",
    "extension": INTERNAL
    + """
import busy
for _ in range(2):
    busy.with_lock(0.3)
    busy.without_lock(0.3)
thread.join()
""",
}


class Recorded:
    def __init__(self, folder, program):
        script = folder / "<script>alert(1)</script>.py".replace("/", "_")
        script.write_text(program)
        recording, self.page = folder / "r.busy", folder / "r.html"
        command = [
            BUSY,
            "record",
            "-o",
            recording,
            "--json",
            folder / "r.json",
            "--",
            sys.executable,
            script,
            LIBBUSY,
        ]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        subprocess.run([BUSY, "report", recording, "-o", self.page], check=True)
        start = json.loads(recording.read_bytes()[16 + 9 :].split(b"}", 1)[0] + b"}")["monotonic_ns"]
        self.holds = [
            [(int(time) - start) / 1e9 for time in line.split()] for line in done.stdout.splitlines()
        ]
        self.result = json.loads((folder / "r.json").read_text())["results"][0]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    return Recorded(tmp_path_factory.mktemp("page"), PROGRAM)


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as driver:
        # Root may not use Chromium's sandbox, and a container may not have one.
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser, recorded):
    """Opens the page. At the end, nothing may have been requested, and no error may have been reported."""
    contexts, wrong = [], []

    def open_page(path=recorded.page, **options):
        context = browser.new_context(**{"viewport": {"width": 1000, "height": 800}, **options})
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: message.type != "error" or wrong.append(message.text))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("dialog", lambda dialog: wrong.append(dialog.message))
        page.on("request", lambda request: request.url.startswith("file:") or wrong.append(request.url))
        page.goto(path.as_uri())
        if options.get("java_script_enabled", True):
            # The page's policy forbids the evaluation that wait_for_function needs.
            page.locator("canvas[data-to]").wait_for()
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert wrong == []


def view(page):
    data = page.evaluate("({...document.querySelector('canvas').dataset})")
    return {key: float(value) for key, value in data.items()}


def frame(page):
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


def pixel(page, time, lane):
    """The colour of a lane at a time, at its middle. A line of the time axis may be there: so it is that of most of the
    columns around it."""
    shown = view(page)
    place = (time - shown["from"]) / (shown["to"] - shown["from"])
    script = """([place, y]) => {
        const canvas = document.querySelector("canvas"), { label, head } = canvas.dataset;
        const x = Number(label) + place * (canvas.clientWidth - label), ratio = devicePixelRatio;
        const [column, row] = [x, Number(head) + y].map((place) => Math.round(place * ratio));
        const { data } = canvas.getContext("2d").getImageData(column - 3, row, 7, 1);
        return [3, 0, 1, 2, 4, 5, 6].map((place) => [...data.slice(4 * place, 4 * place + 3)]);
    }"""
    colours = collections.Counter(map(tuple, page.evaluate(script, [place, lane * 20 + 5])))
    return colours.most_common(1)[0][0]


def lane_of(page, words):
    """The index of the lane with these words in its label. The busiest lanes come first, as in the data."""
    data = page.evaluate(
        "JSON.parse(document.querySelector('script.data').textContent).lanes.map((lane) => lane.name)"
    )
    return next(index for index, name in enumerate(data) if words in name)


def test_the_pixels_are_those_of_the_program(open_page, recorded):
    page = open_page()
    # Native names come from Python from 3.14 on; before, a thread is called by its function.
    holder = lane_of(page, "hold" if sys.version_info < (3, 14) else "<script>")
    for begin, end in recorded.holds:
        middle = (begin + end) / 2
        assert pixel(page, middle, holder) == COLOURS["holds"]
        assert pixel(page, middle, 1 - holder) == COLOURS["waits"]
        assert pixel(page, end + 0.02, holder) not in COLOURS.values()


@pytest.mark.parametrize("experiment", TALK)
def test_the_lanes_of_the_talks_programs_have_the_times_of_the_json(open_page, tmp_path, experiment):
    talk = Recorded(tmp_path, TALK[experiment])
    page = open_page(talk.page)
    lanes = page.evaluate(
        "JSON.parse(document.querySelector('script.data').textContent).lanes.map((lane) => lane.tid)"
    )
    # For each colour of a lane: the number of its pixels, in columns of the whole height.
    script = """([lane, colours]) => {
        const canvas = document.querySelector("canvas"), { label, head } = canvas.dataset, ratio = devicePixelRatio;
        const [left, top, height] = [label, Number(head) + lane * 20, 18].map((place) => Math.round(place * ratio));
        const { data } = canvas.getContext("2d").getImageData(left, top, canvas.width - left, height);
        return colours.map((colour) => {
            let count = 0;
            for (let place = 0; place < data.length; place += 4) {
                if (colour.every((part, index) => data[place + index] === part)) count++;
            }
            return count / height;
        });
    }"""
    shown = view(page)
    columns = page.evaluate("document.querySelector('canvas').width") - shown["label"]
    threads = {thread["tid"]: thread for thread in talk.result["processes"][0]["threads"]}
    assert len(lanes) == len(threads) == 2
    for lane, tid in enumerate(lanes):
        drawn = page.evaluate(script, [lane, [list(COLOURS["holds"]), list(COLOURS["waits"])]])
        for pixels, figure in zip(drawn, ("held_s", "waited_s"), strict=True):
            expected = threads[tid][figure] / (shown["to"] - shown["from"]) * columns
            # In the mean, a column of 18 pixels differs by less than one.
            assert abs(pixels - expected) < columns / 18, (experiment, tid, figure, pixels, expected)


def test_the_boundaries_of_a_hold_are_exact_where_it_is_zoomed_in(open_page, recorded):
    page = open_page()
    page.locator(".go").first.click()
    frame(page)
    shown = view(page)
    stall = recorded.result["processes"][0]["stalls"][0]
    begin, end = stall["at_s"], stall["at_s"] + stall["held_s"]
    column = (shown["to"] - shown["from"]) / (page.locator("canvas").bounding_box()["width"] - shown["label"])
    assert shown["from"] < begin < end < shown["to"] and column < 0.0002

    # The chosen stall's holder is the first lane. The mark of the chosen range lies over its colours.
    def holds(time):
        red, green, blue = pixel(page, time, 0)
        return red < 60 and green > 80 and blue > 150

    assert holds(begin + 2 * column) and holds((begin + end) / 2) and holds(end - 2 * column)
    assert not holds(begin - 2 * column)
    # The holder may hold the GIL again at once, so its end is that of the stretch under the pointer.
    box = page.locator("canvas").bounding_box()
    x = shown["label"] + (begin - shown["from"]) / column + 20
    page.mouse.move(box["x"] + x, box["y"] + shown["head"] + 8)
    length = page.locator(".tip").inner_text().splitlines()[1].split("s: for ")[1]
    assert length.endswith(" ms") and abs(float(length[:-3]) / 1e3 - stall["held_s"]) < 0.0001
    # The program itself has seen the hold then.
    assert any(abs(one[0] - begin) < 0.02 and abs(one[1] - end) < 0.02 for one in recorded.holds)


def test_what_is_measured_is_what_the_json_has(open_page, recorded):
    page = open_page()
    page.locator("canvas").focus()
    box = page.locator("canvas").bounding_box()
    page.mouse.move(box["x"] + view(page)["label"] + 1, box["y"] + 100)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] - 1, box["y"] + 100, steps=4)
    page.mouse.up()
    cells = page.locator(".totals tbody tr").first.locator("td").all_inner_texts()
    units = {"s": 1, "ms": 1e-3, "us": 1e-6}
    held, waited = (float(cell.split()[0]) * units[cell.split()[1]] if cell else 0.0 for cell in cells[1:3])
    thread = recorded.result["processes"][0]["threads"][0]
    # The drag leaves out a pixel at both ends.
    assert abs(held - thread["held_s"]) < 0.02 * recorded.result["duration_s"]
    assert abs(waited - thread["waited_s"]) < 0.02 * recorded.result["duration_s"]


def test_the_keys_zoom_move_search_and_return(open_page):
    page = open_page()
    whole = view(page)
    page.keyboard.press("w")
    frame(page)
    zoomed = view(page)
    assert zoomed["from"] > whole["from"] and zoomed["to"] < whole["to"]
    page.keyboard.press("d")
    frame(page)
    assert view(page)["from"] > zoomed["from"]
    page.keyboard.press("0")
    frame(page)
    assert view(page) == whole
    page.keyboard.press("/")
    page.keyboard.type("no such thread")
    frame(page)
    assert page.evaluate("document.activeElement.type") == "search"
    assert pixel(page, (whole["from"] + whole["to"]) / 2, 0) == (255, 255, 255)
    assert page.locator(".found").inner_text() == "no thread has this name or id"
    page.keyboard.press("Escape")
    frame(page)
    assert page.evaluate("document.activeElement.tagName") == "CANVAS"
    page.keyboard.press("s")
    frame(page)
    assert view(page) == whole


def test_the_keys_are_those_of_the_picture_after_a_click_on_a_stall(open_page):
    page = open_page()
    whole = view(page)
    page.locator(".go").first.click()
    frame(page)
    assert view(page) != whole and page.locator(".legend").first.bounding_box()["y"] > -1
    page.keyboard.press("0")
    frame(page)
    assert view(page) == whole
    page.locator("[data-do=in]").click()
    page.keyboard.press("Escape")
    assert page.locator("tr.chosen").count() == 0 and page.locator(".range").inner_text() == ""


def test_a_hover_describes_what_is_under_it(open_page, recorded):
    page = open_page()
    box, shown = page.locator("canvas").bounding_box(), view(page)
    begin, end = recorded.holds[2]
    place = ((begin + end) / 2 - shown["from"]) / (shown["to"] - shown["from"])
    x = box["x"] + shown["label"] + place * (box["width"] - shown["label"])
    texts = []
    for lane in (0, 1):
        page.mouse.move(x, box["y"] + shown["head"] + lane * 20 + 8)
        texts.append(page.locator(".tip").inner_text())
    assert any("holds the GIL 100 %" in text for text in texts) and any(
        "waits for the GIL 100 %" in text for text in texts
    )


def test_a_mark_describes_its_stall(open_page):
    page = open_page()
    box, shown = page.locator("canvas").bounding_box(), view(page)
    rows = page.locator("table.stalls tbody tr")
    for row in range(3):
        at, _, held = rows.nth(row).locator("td").all_inner_texts()[:3]
        place = (float(at.split()[0]) - shown["from"]) / (shown["to"] - shown["from"])
        page.mouse.move(box["x"] + shown["label"] + place * (box["width"] - shown["label"]), box["y"] + 20)
        assert page.locator(".tip").inner_text().startswith(f"stall at {at}: ")
        assert f"held the GIL for {held}" in page.locator(".tip").inner_text()


def test_a_table_is_sorted_by_the_column_that_is_clicked(open_page):
    page = open_page()
    table = page.locator("table.stalls")
    column = table.locator("tbody td:nth-child(3)")
    texts = column.all_inner_texts()
    lengths = sorted(float(text.split()[0]) * {"s": 1e3, "ms": 1}[text.split()[1]] for text in texts)
    title = table.locator("th", has_text="held for")

    def shown():
        return [
            float(text.split()[0]) * {"s": 1e3, "ms": 1}[text.split()[1]] for text in column.all_inner_texts()
        ]

    title.locator("button").click()
    assert shown() == lengths[::-1] and title.get_attribute("aria-sort") == "descending"
    title.locator("button").click()
    assert shown() == lengths and title.get_attribute("aria-sort") == "ascending"
    # A row still shows its own stall.
    row = table.locator("tbody tr").last
    row.locator(".go").click()
    assert "chosen" in row.get_attribute("class")
    at = float(row.locator(".go").inner_text().split()[0])
    frame(page)
    assert view(page)["from"] < at < view(page)["to"]


def test_a_function_of_the_flame_graph_is_enlarged_and_shrinks_again(open_page):
    page = open_page(viewport={"width": 420, "height": 700})
    flame = page.locator("svg.flame").first
    width = flame.bounding_box()["width"]
    # A label is as large as elsewhere on the page.
    assert flame.evaluate("(svg) => svg.viewBox.baseVal.width / svg.clientWidth") == pytest.approx(1)
    boxes = flame.locator("rect")
    before = [
        box["width"] for box in (boxes.nth(index).bounding_box() for index in range(boxes.count())) if box
    ]
    small = next(index for index, one in enumerate(before) if 5 < one < 0.9 * width)
    boxes.nth(small).click()
    assert boxes.nth(small).bounding_box()["width"] > 0.98 * width
    boxes.nth(small).click()
    assert boxes.nth(small).bounding_box()["width"] == pytest.approx(before[small], abs=1)


def test_names_from_outside_are_text(open_page):
    page = open_page()
    assert page.locator("h2").first.inner_text().count("<script>alert(1)<_script>") == 1
    assert page.evaluate("document.scripts.length") == 2


def test_the_dark_colours_differ_and_the_button_changes_them(open_page, recorded):
    page = open_page(color_scheme="dark")
    middle = sum(recorded.holds[1]) / 2
    dark = {pixel(page, middle, lane) for lane in (0, 1)}
    page.locator(".theme").click()
    frame(page)
    assert {pixel(page, middle, lane) for lane in (0, 1)} == set(COLOURS.values()) != dark


def test_without_a_script_the_picture_and_the_tables_are_there(open_page):
    page = open_page(java_script_enabled=False)
    assert page.locator("figure svg path.holds").count() >= 1
    assert page.locator("figure svg").is_visible() and not page.locator("canvas").is_visible()
    assert page.locator("table.stalls tbody tr").count() >= 3


@pytest.mark.parametrize("width", [400, 4000])
def test_any_width_fits(open_page, width):
    page = open_page(viewport={"width": width, "height": 700})
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.locator("canvas").bounding_box()["width"] > 0.8 * min(width, 3840)


def test_it_prints(open_page):
    page = open_page()
    page.emulate_media(media="print")
    assert not page.locator(".bar").first.is_visible() and page.locator("canvas").is_visible()
    assert len(page.pdf()) > 10_000
