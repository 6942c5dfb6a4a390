"""Before 3.12 the garbage collector runs wherever a container is created. Not so in the module's readings: a `__del__`
that it calls may drop the GIL, and a thread that takes it again in native code may be ended there."""

import gc
import sys
from functools import partial

import pytest
from busy import _busy

pytestmark = [
    pytest.mark.skipif(
        sys.version_info >= (3, 12), reason="the collector runs between two instructions only"
    ),
    pytest.mark.skipif(sys.implementation.name != "cpython", reason="the collector of CPython"),
]


def collections_during(call):
    """Counts how often the collector begins during a call, which creates nothing but its result."""
    is_in_call, found = [False], []

    def note(phase, _):
        if is_in_call[0] and phase == "start":
            found.append(phase)

    before = gc.get_threshold()
    gc.callbacks.append(note)
    gc.set_threshold(1)
    try:
        gc.collect()
        one = []  # noqa: F841 - the next container is one too many
        is_in_call[0] = True
        result = call()
        is_in_call[0] = False
    finally:
        gc.set_threshold(*before)
        gc.callbacks.remove(note)
    assert result, "it creates nothing"
    return len(found)


def test_a_call_that_creates_containers_runs_the_collector():
    assert collections_during(partial(list, "a")) > 0


def test_the_readings_of_a_window_do_not():
    window = _busy.gil_open(False)
    try:
        assert collections_during(partial(_busy.gil_read, window)) == 0
        assert collections_during(partial(_busy.gil_rows, _busy.gil_read(window)[1], 0)) == 0
        assert gc.isenabled()
    finally:
        _busy.gil_close(window)
