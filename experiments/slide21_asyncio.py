"""Slides 18-21 as one would write them today: an asyncio coroutine that ticks eleven times, or until SIGINT cancels it.

usage: slide21_asyncio.py CASE SECONDS LOOP

LOOP is asyncio or uvloop. Runs on Python 3.5 and later, because it uses `async def`.
"""

import asyncio
import importlib
import signal

from reporting import main
from ticks import TICKS, Ticks


async def dots(ticks):
    while len(ticks.came) < TICKS:
        await asyncio.sleep(ticks.until_next())
        ticks.tick()


async def ticking(ticks, loop):
    task = loop.create_task(dots(ticks))  # Starts once this coroutine awaits.
    loop.add_signal_handler(signal.SIGINT, task.cancel)
    ticks.begin()
    try:
        await task
        return "itself"
    except asyncio.CancelledError:
        return "SIGINT"
    finally:
        loop.remove_signal_handler(signal.SIGINT)


def run(ticks, library):
    # Like asyncio.run(), which exists from 3.7 on and accepts another library's loop from 3.12 on.
    loop = importlib.import_module(library).new_event_loop()
    try:
        ended_by = loop.run_until_complete(ticking(ticks, loop))
    finally:
        loop.close()
    return ticks.metrics(ended_by, loop="%s.%s" % (type(loop).__module__, type(loop).__name__))


if __name__ == "__main__":
    cases = {
        "ticks": lambda seconds, library: run(Ticks(seconds), library),
        "ctrl-c": lambda seconds, library: run(Ticks(seconds, ctrl_c=True), library),
    }
    main(cases, "CASE SECONDS LOOP")
