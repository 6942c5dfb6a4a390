"""Slides 2-3: an interpreter without a GIL. Two Python threads use two cores, and with_lock stalls no other thread.
Stop-the-world pauses can stall instead: a garbage collection waits for every attached thread.

usage: slide02_no_gil.py CASE SECONDS GIL FOLDER MODULE

GIL is PYTHON_GIL=0, PYTHON_GIL=1, or `as-is`. FOLDER/MODULE is an extension module with with_lock and without_lock.
"""

import gc
import importlib
import os
import sys
import threading
import time

import reporting
import side_by_side
from side_by_side import internal, now


def module(folder, name):
    sys.path.insert(0, folder)
    return importlib.import_module(name)


def two_internal(*_):
    return [("internal", internal), ("internal", internal)]


def beside_with_lock(_gil, *where):
    return [("internal", internal), ("with_lock", module(*where).with_lock)]


def collect_beside(function):
    def collect(seconds, _gil, *where):
        """Measures gc.collect() from its due time, which is a tenth of the call's duration after the call starts."""
        call = getattr(module(*where), function)
        started, times = threading.Event(), {}

        def calling():
            times["due"] = now() + seconds / 10.0
            started.set()
            call(seconds)
            times["call ended"] = now()

        gc.collect()
        thread = threading.Thread(target=calling)
        thread.start()
        started.wait()
        time.sleep(max(0.0, times["due"] - now()))
        gc.collect()
        collected = now()
        thread.join()
        return {
            "call_s": float(seconds),
            "rest_of_call_s": times["call ended"] - times["due"],
            "collect_s": collected - times["due"],
        }

    return collect


def apply_gil(setting):
    """Re-executes this process with PYTHON_GIL set: an interpreter reads the variable only at startup (PEP 703)."""
    name, _, value = setting.partition("=")
    if value and os.environ.get(name) != value:
        os.environ[name] = value
        os.execv(sys.executable, [sys.executable] + sys.argv)


WATCHED = {"two-internal": two_internal, "internal+with_lock": beside_with_lock}
SELF_REPORTED = {
    "collect+with_lock": collect_beside("with_lock"),
    "collect+without_lock": collect_beside("without_lock"),
}

if __name__ == "__main__":
    usage = "CASE SECONDS GIL FOLDER MODULE"
    apply_gil("".join(sys.argv[3:4]))
    if sys.argv[1:] and sys.argv[1] in WATCHED:
        side_by_side.main(WATCHED, usage)
    else:
        reporting.main(SELF_REPORTED, usage)
