"""How often does busy.loop_delay() name the right cause of a slow turn of an asyncio event loop?

Four causes are planted, TIMES times each: a callback that computes, a callback that blocks, another thread that holds
the GIL, and another process that has the loop's only core.

python loop_delay.py [TIMES]
"""

import asyncio
import collections
import os
import subprocess
import sys
import threading
import time

import busy

DELAY_S = 0.2
THRESHOLD = "50ms"


async def compute() -> None:
    end = time.thread_time() + DELAY_S
    while time.thread_time() < end:
        pass


async def block() -> None:
    time.sleep(DELAY_S)


def hold_the_gil() -> None:
    busy.with_lock(DELAY_S)


async def be_stalled() -> None:
    threading.Thread(target=hold_the_gil, name="holder").start()
    await asyncio.sleep(0.05)


class Rival:
    """A process with a real-time priority on the loop's only core, which it takes for DELAY_S at each byte that it
    gets. That needs the right to such a priority."""

    CODE = f"""
import os, sys, time
os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
print(flush=True)
while sys.stdin.buffer.read(1):
    end = time.monotonic() + {DELAY_S}
    while time.monotonic() < end: pass
"""

    def __init__(self) -> None:
        self.cores = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {min(self.cores)})
        self.process = subprocess.Popen(
            [sys.executable, "-S", "-c", self.CODE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
        )
        self.is_ready = bool(self.process.stdout.readline())

    async def strike(self) -> None:
        self.process.stdin.write(b"x")

    def end(self) -> None:
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()
        os.sched_setaffinity(0, self.cores)


CAUSES = {"computes": (compute, "callbacks"), "blocks": (block, "callbacks"), "GIL": (be_stalled, "gil")}


async def slowest(cause) -> "tuple[str, str]":
    with busy.loop_delay(THRESHOLD) as delay:
        await asyncio.sleep(0.02)
        await cause()
        await asyncio.sleep(0.05)
    if not delay.slow:
        return "nothing", repr(delay)
    turn = max(delay.slow, key=lambda turn: turn.delay_s)
    return turn.cause, str(turn)


def count(name: str, plant, expected: str, times: int) -> None:
    found: collections.Counter[str] = collections.Counter()
    wrong = []
    for _ in range(times):
        cause, text = asyncio.run(slowest(plant))
        found[cause] += 1
        if cause != expected or (expected == "gil" and "hold_the_gil" not in text):
            wrong.append(text)
    print(f"{name}: {times - len(wrong)} of {times} named right, {dict(found)}", *wrong[:3], sep="\n    ")


def main(times: str = "40") -> None:
    for name, (plant, expected) in CAUSES.items():
        count(name, plant, expected, int(times))
    rival = Rival()
    try:
        if rival.is_ready:
            count("no core", rival.strike, "no-cpu", int(times))
        else:
            print("no core: skipped, since this user may not have a real-time priority")
    finally:
        rival.end()


if __name__ == "__main__":
    main(*sys.argv[1:])
