"""Runs named loops in threads that start together, and prints their counts as one line of JSON.

Shared by the experiments that run a pure Python thread (the talk calls it internal) beside another thread. Runs on
CPython 2.7 and 3.x. Needs only the standard library.
"""

from __future__ import print_function

import json
import os
import signal
import sys
import threading
import time

from reporting import call

# The lab reads CLOCK_MONOTONIC too. Python 2 has only the wall clock.
CLOCK = "monotonic" if hasattr(time, "monotonic") else "time"
now = getattr(time, CLOCK)


def internal(seconds):
    """The talk's pure Python loop: counts how often it can read the clock within `seconds`."""
    clock = time.time
    start = clock()
    count = 0
    while clock() - start <= seconds:
        count += 1
    return count


def native_thread_id():
    """Returns the kernel's id of the calling thread."""
    if hasattr(threading, "get_native_id"):  # from 3.8 on
        return threading.get_native_id()
    import ctypes

    gettid = {"x86_64": 186, "aarch64": 178}[os.uname()[4]]
    return ctypes.CDLL(None).syscall(gettid)


class Spinner(object):
    """A process of its own, which calls spin(seconds) from start() to stop(): a control, which shares no GIL.

    Create it before there are threads, since it forks.
    """

    def __init__(self, spin):
        reader, self.writer = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                os.close(self.writer)
                seconds = os.read(reader, 20)
                if seconds:
                    spin(int(seconds))
            finally:
                os._exit(0)
        os.close(reader)

    def start(self, seconds):
        # It is killed before this time has passed.
        os.write(self.writer, b"%d" % (2 * seconds + 10))

    def stop(self):
        """Ends the process, and returns its CPU time in seconds."""
        os.kill(self.pid, signal.SIGKILL)
        os.close(self.writer)
        usage = os.wait4(self.pid, 0)[2]
        return usage.ru_utime + usage.ru_stime


def run(loops, seconds, control=None):
    """Runs each (name, function) of `loops` in a thread of its own as function(seconds), and prints a report.

    A `control` is a Spinner that runs beside the threads.

    The internal threads start first, and then let the others start. If a call that holds the GIL started first, an
    internal thread could not read the clock until the call returns.
    """
    report = {"clock": CLOCK, "threads": [None] * len(loops)}
    may_start, others_may_start, may_exit = threading.Event(), threading.Event(), threading.Event()
    ready, done = threading.Semaphore(0), threading.Semaphore(0)

    def work(index, name, loop):
        thread = {"name": name, "tid": native_thread_id()}
        report["threads"][index] = thread
        ready.release()
        if loop is internal:
            may_start.wait()
            others_may_start.set()
        else:
            others_may_start.wait()
        try:
            thread["count"] = loop(seconds)
        except BaseException as error:
            thread["error"] = "%s: %s" % (type(error).__name__, error)
        thread["end"] = now()
        done.release()
        # The lab reads the CPU time of this thread from outside, while the thread is still alive.
        may_exit.wait()

    threads = [threading.Thread(target=work, args=(i,) + loop) for i, loop in enumerate(loops)]
    for thread in threads:
        thread.daemon = True
        thread.start()
    for _ in threads:
        ready.acquire()
    if control:
        control.start(seconds)
    report["start"] = now()
    may_start.set()
    for _ in threads:
        done.acquire()
    if control:
        report["control_cpu_s"] = control.stop()
    report["end"] = max(thread.pop("end") for thread in report["threads"])
    print(json.dumps(report))
    sys.stdout.flush()
    if os.environ.get("BUSY_WATCHED"):
        # The lab closes stdin when it has read the CPU times.
        sys.stdin.read()
    may_exit.set()
    for thread in threads:
        thread.join()
    return 1 if any("error" in thread for thread in report["threads"]) else 0


def main(cases, usage, **others):
    """Runs the case named on the command line.

    `cases` maps names to functions that return the loops for `run`, `others` to functions that call `run` themselves.
    """
    runners = {name: runner(loops) for name, loops in cases.items()}
    sys.exit(call(dict(runners, **others), usage))


def runner(loops):
    return lambda seconds, *rest: run(loops(*rest), seconds)
