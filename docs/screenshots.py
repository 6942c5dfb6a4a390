"""Makes the pictures of docs/images: records a program with three planted problems, and takes pictures of its page.

python docs/screenshots.py BUSY CHROMIUM
"""

import pathlib
import subprocess
import sys
import tempfile

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


def main(busy, chromium):
    with tempfile.TemporaryDirectory() as folder:
        script, page = pathlib.Path(folder, "app.py"), pathlib.Path(folder, "app.html")
        script.write_text(PROGRAM)
        subprocess.run(
            [pathlib.Path(busy).resolve(), "record", "-o", page, "--", sys.executable, "app.py"],
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
            browser.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
