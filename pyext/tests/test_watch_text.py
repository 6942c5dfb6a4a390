"""The figures of a watch as text and as plain data."""

import json
import threading

import busy
import pytest
from watching import in_thread, watched_wait


def test_the_text_of_a_watch_has_its_figures():
    with busy.watch() as w:
        busy.with_lock(0.02)
    name = f"{threading.current_thread().name} ({threading.get_native_id()})"
    assert repr(w).startswith("<busy.watch: ") and " GIL held " in repr(w) and name in repr(w)
    assert "\n" not in repr(w)
    lines = str(w).splitlines()
    assert lines[0].startswith("the GIL was held for ") and any(name in line for line in lines[1:])
    assert "longest" in lines[1] and "CPU" in lines[1]


def watch_of(wall, **threads):
    """Returns a watch with threads of these figures: held, waited at most, run delay."""
    w = busy.watch()
    w.wall_s, w.others = wall, {}
    w.held_share = sum(held for held, _, _ in threads.values()) / wall
    w.threads = {
        number: busy.WatchedThread(name, held, wait, held, wait, 1, 0.0, delay)
        for number, (name, (held, wait, delay)) in enumerate(threads.items())
    }
    return w


@pytest.mark.parametrize(
    ("w", "expected"),
    [
        (
            watch_of(1, a=(0.3, 0, 0), b=(0.01, 0.29, 0)),
            "b (1) waited for 290 ms, at least 290 ms of it while a (0)",
        ),
        (
            watch_of(1, a=(0.3, 0, 0), b=(0.01, 0.31, 0.01)),
            "b (1) waited for 310 ms, at least 300 ms of it while a",
        ),
        (
            watch_of(1, a=(0.3, 0, 0), b=(0, 0.3, 0), c=(0.1, 0, 0)),
            "at least 200 ms of it while a (0) held the GIL",
        ),
        (
            watch_of(1, a=(0.3, 0, 0), b=(0.4, 0.3, 0)),
            "b (1) waited for 300 ms, at least 300 ms of it while a (0)",
        ),
        # Another thread may have held it for the better part of the wait.
        (watch_of(1, a=(0.3, 0, 0), b=(0, 0.3, 0), c=(0.2, 0, 0)), None),
        # It may have had no core.
        (watch_of(1, a=(0.3, 0, 0), b=(0, 0.3, 0.2)), None),
        (watch_of(1, a=(0.3, 0, 0), b=(0, 0.3, None)), None),
        (watch_of(0.35, a=(0.3, 0, 0), b=(0, 0.3, None)), "at least 250 ms of it while a (0) held the GIL"),
        # As long as Python code keeps the GIL.
        (watch_of(1, a=(0.9, 0, 0), b=(0.1, 0.006, 0)), None),
        (watch_of(1, a=(0.9, 0.1, 0)), None),
        (watch_of(1), None),
    ],
)
def test_the_text_names_who_stalled_whom_if_it_is_certain(w, expected):
    lines = [line for line in str(w).splitlines() if "longest stall" in line]
    assert len(lines) == (expected is not None)
    assert expected is None or expected in lines[0]


def test_the_thread_that_stalls_another_is_named():
    for _ in range(5):
        w, _ = watched_wait()
        # On a busy machine the thread may have had no core for most of the wait.
        if "longest stall: waits (" in str(w):
            break
    else:
        pytest.fail(str(w))
    assert f"of it while {threading.current_thread().name} ({threading.get_native_id()}) held the GIL" in str(
        w
    )


def test_the_figures_as_plain_data():
    def run():
        busy.with_lock(0.03)

    with busy.watch() as w:
        thread = in_thread(run, name="a thread")
        with pytest.raises(AttributeError, match="read"):
            w.to_dict()
    found = w.to_dict()
    assert json.loads(json.dumps(found)) == found
    assert (found["wall_s"], found["held_share"], found["others"]) == (w.wall_s, w.held_share, [])
    keys = "tid name held_s waited_s longest_hold_s longest_wait_s acquisitions cpu_s run_delay_s"
    assert all(set(row) == set(keys.split()) for row in found["threads"])
    assert [row["held_s"] for row in found["threads"]] == sorted(
        (row["held_s"] for row in found["threads"]), reverse=True
    )
    row = next(row for row in found["threads"] if row["tid"] == thread.native_id)
    assert row["name"] == "a thread" and row["held_s"] == w.threads[thread.native_id].held_s >= 0.03
