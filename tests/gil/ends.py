"""Ends the process while four daemon threads call busy without a pause. Once the interpreter has begun to shut down,
CPython before 3.14 ends a thread that acquires the GIL; such a thread may be inside any of these calls.

usage: ends.py LIBBUSY CALL END. The calls other than `start` and `window` need the Python module."""

import gc
import os
import random
import signal
import sys
import threading
import time

from meter import close, snapshot, start, stop, window


class Unsettled(object):
    """Runs some Python code when it is converted to a float and when it is freed, so that other threads may run."""

    def __init__(self, error=None):
        self.error, self.itself = error, self

    def __float__(self):
        for _ in range(100):
            pass
        if self.error:
            raise self.error
        return 1e-7

    def __del__(self):
        for _ in range(100):
            pass


def call_start():
    start()
    stop()


def call_window():
    start()
    number = window()
    snapshot(window=number)
    close(number)
    stop()


def call_watch():
    with busy.watch() as watched:
        watched.read()


def call_collected_watch():
    """The collector may run in any of these calls. Few objects, often: while one thread frees them, which takes far
    longer than to create them, the others must not create more than it frees."""
    gc.set_threshold(10)
    with busy.watch() as watched:
        for _ in range(10):
            Unsettled()
        watched.read()


def call_first_watch():
    """The end comes while a thread imports the module or creates its classes."""
    call_watch()


def call_without_lock():
    busy.without_lock(0)
    busy.without_lock(1e-4)


def call_unsettled():
    busy.with_lock(Unsettled())
    try:
        busy.without_lock(Unsettled(TypeError()))
    except TypeError:
        pass


def repeat(call):
    while True:
        call()


call = globals()["call_" + sys.argv[2]]
if sys.argv[2] not in ("start", "window"):
    import busy

    if sys.argv[2] != "first_watch":
        busy.watch  # noqa: B018 - imported before the threads start, since this takes a while
if hasattr(sys, "setswitchinterval"):
    sys.setswitchinterval(1e-5)
for _ in range(4):
    thread = threading.Thread(target=repeat, args=(call,))
    thread.daemon = True
    thread.start()
time.sleep(0.02 if sys.argv[2] != "first_watch" else random.random() * 0.03)
if sys.argv[3] == "interrupt":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(10)
elif sys.argv[3] == "_exit":
    os._exit(7)
elif sys.argv[3] == "exec":
    os.execv(sys.executable, [sys.executable, "-S", "-c", "raise SystemExit(8)"])
