"""Makes the pictures of docs/images: a program with three planted problems in `busy top`, and the page of its record.

python docs/screenshots.py BUSY CHROMIUM
"""

import contextlib
import fcntl
import html
import itertools
import os
import pathlib
import struct
import subprocess
import sys
import tempfile
import termios
import time

import pyte
from playwright.sync_api import sync_playwright

IMAGES = pathlib.Path(__file__).parent / "images"

# A native call that keeps the GIL, a convoy over small system calls, and an event loop that both starve.
PROGRAM = """
import asyncio, json, os, threading, time

data = {str(number): list(range(20)) for number in range(40000)}
end = time.monotonic() + 4

def dump():
    while time.monotonic() < end:
        json.dumps(data)
        time.sleep(0.3)

def stat():
    while time.monotonic() < end:
        for _ in range(400):
            os.stat("/")
        time.sleep(0.01)

async def tick():
    while time.monotonic() < end:
        await asyncio.sleep(0.01)

for target in [dump] + 4 * [stat]:
    threading.Thread(target=target).start()
asyncio.run(tick())
"""

# The name of each picture, its width and height, the colours, and the stall that is shown, if one is.
PICTURES = [
    ("page", 1200, 450, "light", None),
    ("page-dark", 1200, 450, "dark", 0),
    ("page-narrow", 420, 600, "light", None),
]

# The size of the terminal of `busy top`, and when its picture is taken: the first stalls have been listed.
LINES, COLUMNS, TOP_S = 20, 80, 3.5
FRONT, BACK = "#d8d8d8", "#1e1e1e"


def screen_of(command, folder):
    """Returns the screen that `command` has drawn on a terminal after TOP_S seconds."""
    screen = pyte.Screen(COLUMNS, LINES)
    stream = pyte.ByteStream(screen)
    master, terminal = os.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("4H", LINES, COLUMNS, 0, 0))
    child = subprocess.Popen(
        command, cwd=folder, stdin=terminal, stdout=terminal, stderr=terminal, start_new_session=True
    )
    os.close(terminal)
    end = time.monotonic() + TOP_S
    # It draws ten times a second.
    while time.monotonic() < end:
        stream.feed(os.read(master, 65536))
    child.terminate()
    # What it draws at its end is not part of the picture. Reading fails (EIO) once it has closed the terminal.
    with contextlib.suppress(OSError):
        while os.read(master, 65536):
            pass
    child.wait()
    os.close(master)
    return screen


def as_html(screen):
    """Returns the screen as a page. Neighbours of the same style share an element."""

    def style(cell):
        # ratatui numbers its colours, and pyte returns those of the table as RRGGBB.
        front, back = FRONT if cell.fg == "default" else f"#{cell.fg}", BACK
        if cell.reverse:
            front, back = back, front
        return f"color:{front};background:{back};font-weight:{'bold' if cell.bold else 'normal'}"

    def line(number):
        cells = [screen.buffer[number][column] for column in range(COLUMNS)]
        runs = itertools.groupby(cells, style)
        return "".join(
            f'<span style="{one}">{html.escape("".join(c.data for c in run))}</span>' for one, run in runs
        )

    lines = "\n".join(line(number) for number in range(LINES))
    return (
        f'<meta charset="utf-8"><body style="margin:0;background:{BACK}"><pre style="margin:0;padding:8px;'
        f'display:inline-block;font:14px/1.25 monospace;color:{FRONT}">{lines}</pre>'
    )


def main(busy, chromium):
    busy = pathlib.Path(busy).resolve()
    with tempfile.TemporaryDirectory() as folder:
        script, page = pathlib.Path(folder, "app.py"), pathlib.Path(folder, "app.html")
        script.write_text(PROGRAM)
        top = as_html(screen_of([busy, "top", "--", "python3", "app.py"], folder))
        subprocess.run(
            [busy, "record", "-o", page, "--", sys.executable, "app.py"],
            cwd=folder,
            check=True,
        )
        with sync_playwright() as driver:
            # Root may not use Chromium's sandbox.
            browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            for name, width, height, scheme, stall in PICTURES:
                shown = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
                shown.goto(page.as_uri())
                shown.locator("canvas[data-to]").wait_for()
                if stall is not None:
                    shown.locator(".go").nth(stall).click()
                shown.evaluate("scrollTo(0, document.querySelector('h3').offsetTop - 8)")
                shown.wait_for_timeout(300)
                shown.screenshot(path=IMAGES / f"{name}.png")
            shown = browser.new_page()
            shown.set_content(top)
            shown.locator("pre").screenshot(path=IMAGES / "top.png")
            browser.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
