"""busy.counters: the sums over all threads, which never fall."""

import json
import os
import subprocess
import sys
import threading
import time

import busy
import pytest

if not getattr(sys, "_is_gil_enabled", lambda: True)():
    pytest.skip("there is no GIL to meter in this interpreter", allow_module_level=True)

FIGURES = ("metered_s", "held_s", "waited_s", "acquisitions", "forced_drops")


def figures(counters):
    return [getattr(counters, name) for name in FIGURES]


def run(code):
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, timeout=60)


def test_a_hold_counts_and_a_released_wait_does_not():
    before = busy.counters()
    busy.with_lock(0.1)
    between = busy.counters()
    busy.without_lock(0.1)
    after = busy.counters()
    assert between.held_s - before.held_s >= 0.1
    assert after.held_s - between.held_s < after.metered_s - between.metered_s - 0.05
    assert after.acquisitions > between.acquisitions


def test_the_waits_of_all_threads_count_while_they_last():
    gate = threading.Barrier(4)

    def wait_for_the_gil():
        gate.wait()
        busy.without_lock(0.02)

    threads = [threading.Thread(target=wait_for_the_gil) for _ in range(3)]
    for thread in threads:
        thread.start()
    gate.wait()
    time.sleep(0.005)
    before = busy.counters()
    busy.with_lock(0.2)
    during = busy.counters()
    for thread in threads:
        thread.join()
    after = busy.counters()
    # Each of the three waits from the end of its 20 ms on, unless it got no core before.
    assert 0.3 < during.waited_s - before.waited_s < 3 * (during.metered_s - before.metered_s)
    assert after.waited_s >= during.waited_s and after.forced_drops >= during.forced_drops


def test_no_figure_falls_while_threads_and_readers_come_and_go():
    over = threading.Event()
    fallen = []

    def read():
        before = busy.counters()
        while not over.is_set():
            now = busy.counters()
            if any(one > other for one, other in zip(figures(before), figures(now), strict=True)):
                fallen.append((before, now))
            before = now
            time.sleep(0.0005)

    def come_and_go():
        while not over.is_set():
            thread = threading.Thread(target=busy.with_lock, args=(0.0005,))
            thread.start()
            thread.join()

    threads = [threading.Thread(target=target) for target in [read] * 3 + [come_and_go] * 4]
    before = busy.counters()
    for thread in threads:
        thread.start()
    time.sleep(0.5)
    with busy.watch() as w:
        time.sleep(0.2)
    over.set()
    for thread in threads:
        thread.join()
    after = busy.counters()
    assert not fallen
    assert after.held_s - before.held_s <= after.metered_s - before.metered_s
    # The watch lies between the two readings.
    assert after.held_s - before.held_s >= w.held_share * w.wall_s
    assert after.acquisitions - before.acquisitions >= sum(one.acquisitions for one in w.threads.values())


def test_histograms_count_each_hold_once():
    before = busy.counters().histograms
    busy.with_lock(0.05)
    busy.without_lock(0)
    time.sleep(0.001)
    after = busy.counters().histograms
    assert before.below_s == after.below_s and before.below_s[-1] == float("inf")
    long = [index for index, below_s in enumerate(before.below_s) if below_s > 0.05]
    assert sum(after.holds[index] - before.holds[index] for index in long) >= 1
    assert all(one <= other for one, other in zip(before.holds, after.holds, strict=True))


def test_the_first_call_begins_with_zeros_and_later_ones_agree_in_all_threads():
    run("""
import busy, threading
busy.thread_times()  # The metering begins earlier.
busy.with_lock(0.2)
found = []
gate = threading.Barrier(8)
def first():
    gate.wait()
    found.append(busy.counters())
threads = [threading.Thread(target=first) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
assert all(0 <= one.held_s <= one.metered_s and one.held_s < 0.15 for one in found), found
last = busy.counters()
assert all(one.held_s <= last.held_s and one.acquisitions <= last.acquisitions for one in found)
assert sum(last.histograms.holds) <= last.acquisitions + 1, last.to_dict()
""")


def test_rounding_never_makes_the_held_time_longer_than_the_metered_time():
    run("""
from busy._counters import Counters
def sums(metered_ns, held_ns):
    return 1, 1, 0, True, metered_ns, held_ns, 0, 0, 0, bytes(416)
found = Counters(sums(1_000_007_999, 500_008_000), sums(1_000_000_000, 500_000_000), {})
assert (found.metered_s, found.held_s) == (8e-6, 8e-6), found
""")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork(2)")
def test_in_a_forked_child_the_figures_begin_at_the_fork():
    run("""
import busy, os
busy.thread_times()  # The metering begins.
busy.with_lock(0.3)
busy.counters()
busy.with_lock(0.1)
child = os.fork()
if child == 0:
    young = busy.counters()
    if young.held_s >= 0.05 or young.metered_s >= 0.05 or young.acquisitions > 2:
        os._exit(1)
    busy.with_lock(0.1)
    grandchild = os.fork()
    if grandchild == 0:
        os._exit(0 if busy.counters().held_s < 0.05 else 1)
    if os.waitstatus_to_exitcode(os.waitpid(grandchild, 0)[1]):
        os._exit(2)
    os._exit(0 if 0.1 <= busy.counters().held_s else 3)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert busy.counters().held_s >= 0.1
""")


def test_the_figures_are_plain_data_and_print():
    found = busy.counters()
    data = json.loads(json.dumps(found.to_dict()))
    assert data["held_s"] == found.held_s and len(data["histograms"]["holds"]) == 26
    assert "held" in repr(found) and found.others == {}


@pytest.mark.skipif(sys.version_info < (3, 13), reason="the module _interpreters is new in 3.13")
def test_an_interpreter_with_its_own_gil_has_counters_of_its_own():
    run("""
import _interpreters, busy, threading
busy.counters()
number = _interpreters.create()
spin = "import time\\nend = time.monotonic() + 0.2\\nwhile time.monotonic() < end: pass"
for _ in range(2):
    thread = threading.Thread(target=_interpreters.exec, args=(number, spin))
    thread.start()
    thread.join()
found = busy.counters()
assert list(found.others) == [number], found.to_dict()
assert 0.1 < found.others[number].held_s <= found.others[number].metered_s, found.to_dict()
assert found.held_s < 0.3, found.to_dict()
_interpreters.destroy(number)
assert not busy.counters().others
""")


@pytest.mark.parametrize("event", ["ends", "begins", "is replaced"])
def test_an_interpreter_that_begins_or_ends_during_a_reading_hides_no_other_one(monkeypatch, event):
    from busy import _counters

    gils, calls = [0, 1, 2, 3, 4], []

    def change():
        if event != "begins":
            gils.remove(1)
        if event != "ends":
            # At a lower index, or as the last one in place of the other.
            gils.insert(1 if event == "begins" else len(gils), 5)

    def read(which):
        calls.append(which)
        found = None
        if which < len(gils):
            found = (1, len(gils), gils[which], True, 10, 5, 0, 1, 0, bytes(8 * 52))
        # After the first reading of index 1.
        if calls.count(1) == 1 and which == 1:
            change()
        return found

    busy.counters()
    monkeypatch.setattr(_counters, "counters_read", read)
    assert (
        set(busy.counters().others)
        == set(gils[1:])
        == {1, 2, 3, 4, 5}
        - {
            "ends": {1, 5},
            "begins": set(),
            "is replaced": {1},
        }[event]
    )


def test_a_reading_ends_although_interpreters_come_and_go_all_the_time(monkeypatch):
    from busy import _counters

    ids = iter(range(1, 10_000))
    monkeypatch.setattr(
        _counters,
        "counters_read",
        lambda which: (1, 3, next(ids) if which else 0, True, 10, 5, 0, 1, 0, bytes(8 * 52)),
    )
    assert len(busy.counters().others) == 2
