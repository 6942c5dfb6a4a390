"""Slides 2-3: an interpreter without a GIL: two Python threads on two cores, nobody stopped by with_lock; and what
there is to wait for instead: a garbage collection stops the world, so it waits for every attached thread.

usage: slide02_no_gil.py CASE SECONDS SWITCH FOLDER MODULE, with SWITCH PYTHON_GIL=0, PYTHON_GIL=1, or `as-is`, and
FOLDER/MODULE an extension module that has with_lock and without_lock
"""

import gc
import importlib
import os
import sys
import threading
import time

import side_by_side
import reporting
from side_by_side import internal, now


def module(folder, name):
    sys.path.insert(0, folder)
    return importlib.import_module(name)


def two_internal(*_):
    return [("internal", internal), ("internal", internal)]


def beside_with_lock(_switch, *where):
    return [("internal", internal), ("with_lock", module(*where).with_lock)]


def collect_beside(function):
    def collect(seconds, _switch, *where):
        """How long gc.collect() takes from the moment it was wanted, a tenth of the call after the call's begin."""
        call = getattr(module(*where), function)
        begun, times = threading.Event(), {}

        def calling():
            times["wanted"] = now() + seconds / 10.0
            begun.set()
            call(seconds)
            times["call ended"] = now()

        gc.collect()
        thread = threading.Thread(target=calling)
        thread.start()
        begun.wait()
        time.sleep(max(0.0, times["wanted"] - now()))
        gc.collect()
        collected = now()
        thread.join()
        return {
            "call_s": float(seconds),
            "rest_of_call_s": times["call ended"] - times["wanted"],
            "collect_s": collected - times["wanted"],
        }

    return collect


def switched(switch):
    """The switch works at an interpreter's start only (PEP 703), so this one starts anew, as the same process."""
    name, _, value = switch.partition("=")
    if value and os.environ.get(name) != value:
        os.environ[name] = value
        os.execv(sys.executable, [sys.executable] + sys.argv)


WATCHED = {"two-internal": two_internal, "internal+with_lock": beside_with_lock}
TOLD = {
    "collect+with_lock": collect_beside("with_lock"),
    "collect+without_lock": collect_beside("without_lock"),
}

if __name__ == "__main__":
    usage = "CASE SECONDS SWITCH FOLDER MODULE"
    switched("".join(sys.argv[3:4]))
    if sys.argv[1:] and sys.argv[1] in WATCHED:
        side_by_side.main(WATCHED, usage)
    else:
        reporting.main(TOLD, usage)
