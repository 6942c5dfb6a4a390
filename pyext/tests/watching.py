"""What the tests of busy.watch share. They need a GIL."""

import sys
import threading

import busy
import pytest

if not getattr(sys, "_is_gil_enabled", lambda: True)():
    pytest.skip("there is no GIL to watch in this interpreter", allow_module_level=True)


def own(w):
    return w.threads[threading.get_native_id()]


def in_thread(function, name=None):
    thread = threading.Thread(target=function, name=name)
    thread.start()
    thread.join()
    return thread


def watched_wait():
    """Returns a watch of a hold of 300 ms, and the thread "waits" that waited for its end."""
    gate = threading.Barrier(2)

    def wait_for_the_gil():
        gate.wait()
        busy.without_lock(0.01)

    with busy.watch() as w:
        thread = threading.Thread(target=wait_for_the_gil, name="waits")
        thread.start()
        gate.wait()
        busy.with_lock(0.3)
        thread.join()
    return w, thread
