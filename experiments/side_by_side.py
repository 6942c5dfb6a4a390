"""Runs named loops in threads that start together, and prints what each counted as one JSON line.

Shared by the experiments that put a pure Python thread (internal, as the talk calls it) beside another one. Serves
CPython 2.7 and 3.x, and needs only the standard library.
"""

from __future__ import print_function

import json
import os
import sys
import threading
import time

from reporting import call

# CLOCK_MONOTONIC, which a watching process reads too. Python 2 has only the wall clock.
CLOCK = "monotonic" if hasattr(time, "monotonic") else "time"
now = getattr(time, CLOCK)


def internal(seconds):
    """The talk's pure Python loop: how often can the clock be read within `seconds`?"""
    clock = time.time
    start = clock()
    count = 0
    while clock() - start <= seconds:
        count += 1
    return count


def native_thread_id():
    """The kernel's id of the calling thread."""
    if hasattr(threading, "get_native_id"):  # from 3.8 on
        return threading.get_native_id()
    import ctypes

    gettid = {"x86_64": 186, "aarch64": 178}[os.uname()[4]]
    return ctypes.CDLL(None).syscall(gettid)


def run(loops, seconds):
    """Runs each (name, function) of `loops` in a thread of its own as function(seconds), and prints the outcome.

    All wait at one gate. A Python thread goes through it first and then lets the others in: if a call that keeps the
    GIL came first, the Python thread could not even look at the clock before it ends.
    """
    report = {"clock": CLOCK, "threads": [None] * len(loops)}
    gate, door, leave = threading.Event(), threading.Event(), threading.Event()
    ready, done = threading.Semaphore(0), threading.Semaphore(0)

    def work(index, name, loop):
        thread = {"name": name, "tid": native_thread_id()}
        report["threads"][index] = thread
        ready.release()
        if loop is internal:
            gate.wait()
            door.set()
        else:
            door.wait()
        try:
            thread["count"] = loop(seconds)
        except BaseException as error:
            thread["error"] = "%s: %s" % (type(error).__name__, error)
        thread["end"] = now()
        done.release()
        # CPU time is read from outside, which needs a thread that still lives.
        leave.wait()

    threads = [threading.Thread(target=work, args=(i,) + loop) for i, loop in enumerate(loops)]
    for thread in threads:
        thread.daemon = True
        thread.start()
    for _ in threads:
        ready.acquire()
    report["start"] = now()
    gate.set()
    for _ in threads:
        done.acquire()
    report["end"] = max(thread.pop("end") for thread in report["threads"])
    print(json.dumps(report))
    sys.stdout.flush()
    if os.environ.get("BUSY_WATCHED"):
        # Whoever watches closes stdin when it has read what it needs.
        sys.stdin.read()
    leave.set()
    for thread in threads:
        thread.join()
    return 1 if any("error" in thread for thread in report["threads"]) else 0


def main(cases, usage):
    """Runs the case that the command line names; `cases` maps names to functions that return the loops for `run`."""
    running = {name: runner(loops) for name, loops in cases.items()}
    sys.exit(call(running, usage))


def runner(loops):
    return lambda seconds, *rest: run(loops(*rest), seconds)
