"""busy.watch: known holds and waits; watches that nest and overlap."""

import gc
import json
import sys
import threading
import time

import busy
import pytest
from busy._gil import GilWindow
from watching import in_thread, own, watched_wait


def test_a_hold_and_a_release_are_distinguished():
    with busy.watch() as held:
        busy.with_lock(0.2)
    with busy.watch() as released:
        busy.without_lock(0.2)
    assert held.wall_s >= 0.2 and released.wall_s >= 0.2
    assert held.held_share > 0.9 and released.held_share < 0.5
    assert own(held).name == threading.current_thread().name
    assert 0.2 <= own(held).longest_hold_s <= own(held).held_s <= held.wall_s
    assert own(released).acquisitions >= 1 and own(released).longest_hold_s < 0.2


def test_the_cost_of_opening_and_closing_a_watch_does_not_count():
    for _ in range(20):
        with busy.watch() as w:
            pass
        # The two figures come from different clocks.
        assert own(w).cpu_s <= w.wall_s + 2e-6


def test_histograms_count_the_holds_and_waits_of_each_length():
    def wait_for_the_gil():
        gate.wait()
        busy.without_lock(0.03)

    gate = threading.Barrier(2)
    with busy.watch() as outer, busy.watch(histograms=True) as w:
        thread = threading.Thread(target=wait_for_the_gil)
        thread.start()
        gate.wait()
        time.sleep(0.002)
        busy.with_lock(0.2)
        thread.join()
        for _ in range(20):
            time.sleep(0)
    below_s, holds, waits = w.histograms
    assert below_s[:3] == (1e-6, 2e-6, 4e-6) and below_s[-2:] == (2**24 / 1e6, float("inf"))
    assert len(below_s) == len(holds) == len(waits)
    # A hold counts when it ends: the main thread's last one goes on.
    acquisitions = sum(one.acquisitions for one in w.threads.values())
    assert acquisitions - 1 <= sum(holds) <= acquisitions + 1, (w.threads, holds)
    # One hold of 200 ms, and the other thread's wait for its end.
    longest = [max(index for index, count in enumerate(counts) if count) for counts in (holds, waits)]
    assert all(below_s[index] > 0.1 for index in longest), w.histograms
    assert sum(holds[:10]) >= 20, "short holds between the releases"
    assert json.loads(json.dumps(w.to_dict()))["histograms"]["below_s"][-1] is None
    with pytest.raises(AttributeError, match="histograms=True"):
        _ = outer.histograms
    assert "histograms" not in outer.to_dict()


def test_the_wait_of_a_waiter_is_reported():
    w, thread = watched_wait()
    waited = w.threads[thread.native_id]
    assert waited.name == "waits"
    # It requests the GIL 10 ms after it has released it, plus its run delay.
    assert 0 < waited.longest_wait_s <= waited.waited_s
    assert waited.longest_wait_s > 0.1
    assert own(w).longest_hold_s >= 0.3


def test_a_thread_that_spins_without_the_gil_is_reported():
    started = threading.Event()

    def run():
        started.set()
        busy.without_lock(0.5)

    thread = threading.Thread(target=run, name="released")
    thread.start()
    started.wait()
    time.sleep(0.05)
    with busy.watch() as w:
        time.sleep(0.2)
    thread.join()
    row = w.threads[thread.native_id]
    assert (row.name, row.held_s, row.acquisitions) == ("released", 0, 0)
    assert row.cpu_s > 0


def test_watches_nest_and_each_has_its_own_longest_hold():
    with busy.watch() as outer:
        busy.with_lock(0.2)
        with busy.watch() as inner:
            busy.without_lock(0.01)
            busy.with_lock(0.02)
            busy.without_lock(0.01)
    assert own(outer).longest_hold_s >= 0.2
    assert 0.02 <= own(inner).longest_hold_s <= inner.wall_s
    assert inner.wall_s < outer.wall_s - 0.2


def test_watches_overlap_in_several_threads():
    found = {}

    def run(seconds):
        with busy.watch() as w:
            busy.without_lock(seconds)
        found[seconds] = w

    lengths = [0.05, 0.1, 0.15, 0.2]
    threads = [threading.Thread(target=run, args=(seconds,)) for seconds in lengths]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(found[seconds].wall_s >= seconds for seconds in lengths)
    assert type(threading._active) is dict


def test_an_exception_propagates_and_the_watch_is_closed():
    for _ in range(40):
        with pytest.raises(ZeroDivisionError), busy.watch() as w:
            busy.with_lock(0.001)
            raise ZeroDivisionError
        assert w.wall_s >= 0.001


def test_a_watch_can_be_reused_but_not_nested_in_itself():
    w = busy.watch()
    for seconds in (0.02, 0.01):
        with w:
            busy.with_lock(seconds)
        assert seconds <= own(w).held_s
    with w, pytest.raises(RuntimeError, match="already open"), w:
        pass
    assert w.wall_s < 1
    with pytest.raises(RuntimeError, match="not open"):
        w.__exit__(None, None, None)


def test_figures_that_are_read_too_early_raise_a_clear_error():
    with busy.watch() as w:
        for name in ("wall_s", "held_share", "threads", "others"):
            with pytest.raises(AttributeError, match=f"{name} is not available until the block has ended"):
                getattr(w, name)
        assert repr(w) == str(w) == "<busy.watch, open>"
    assert repr(busy.watch()) == "<busy.watch, not started>"
    with pytest.raises(AttributeError, match="no attribute 'other'"):
        w.other  # noqa: B018


def test_any_number_of_watches_nest_and_each_has_its_own_longest_hold():
    watches = []
    for seconds in (0.05, 0.03, 0.01):
        watches += [busy.watch().__enter__() for _ in range(70)]
        busy.with_lock(seconds)
        busy.without_lock(0.001)
    for w in reversed(watches):
        w.__exit__()
    # A busy machine can make a hold longer, but the later ones can't become longer than the whole of a watch.
    first, second, third = watches[:70], watches[70:140], watches[140:]
    assert min(own(w).longest_hold_s for w in first) >= 0.05
    assert min(own(w).longest_hold_s for w in second) >= 0.03
    assert all(0.01 <= own(w).longest_hold_s <= w.wall_s < watches[0].wall_s - 0.08 for w in third)
    assert type(threading._active) is dict


def test_a_deallocated_window_is_closed():
    for _ in range(20):
        window = GilWindow()
        del window
        gc.collect()
    window = GilWindow()
    window.close()
    window.close()
    with pytest.raises(ValueError, match="closed"):
        window.read()


def test_watches_that_open_and_close_in_many_threads_do_not_deadlock():
    # The first start releases the GIL while it holds the meter's lock; the last end must not wait for that lock while
    # it holds the GIL.
    def run():
        for _ in range(50):
            with busy.watch():
                time.sleep(0)

    threads = [threading.Thread(target=run, daemon=True) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)


def test_an_open_watch_can_be_read_and_goes_on():
    reads = []
    with busy.watch() as w:
        busy.with_lock(0.05)
        first = w.read()
        in_thread(lambda: reads.append(w.read()))
        busy.with_lock(0.1)
        second = w.read()
        assert repr(w) == "<busy.watch, open>"
    assert 0.05 <= own(first).longest_hold_s <= own(first).held_s <= first.wall_s
    assert first.wall_s < reads[0].wall_s < second.wall_s <= w.wall_s
    assert own(second).longest_hold_s >= 0.1 and own(second).held_s >= 0.15
    assert own(first).cpu_s <= first.wall_s + 2e-6 and own(first).cpu_s < own(second).cpu_s
    assert "the GIL was held for " in str(first)
    for not_open in (w, first, busy.watch()):
        with pytest.raises(RuntimeError, match="this watch is not open: call read"):
            not_open.read()


def test_a_read_that_races_with_the_end_of_the_block_is_refused():
    # The sums of the whole process would be larger than those of the watch.
    busy.counters()
    w = busy.watch(histograms=True)
    with w:
        opened = w._open
    with pytest.raises(ValueError, match="this window is closed"):
        opened.window.histograms()
    w.__enter__()
    closing = w._open

    class Ending:
        """The window of a block that ends while it is read."""

        def read(self):
            reading, w._open = closing.window.read(), closing
            w.__exit__()
            return reading

        def __getattr__(self, name):
            return getattr(closing.window, name)

    w._open = closing._replace(window=Ending())
    with pytest.raises(RuntimeError, match="this watch is not open: call read"):
        w.read()


def test_reads_beside_blocks_that_begin_and_end_return_their_figures_or_are_refused():
    busy.counters()
    for _ in range(2000):
        time.sleep(0)
    errors, most, over, current = set(), [0], threading.Event(), [None]

    def read():
        while not over.is_set():
            try:
                most[0] = max(most[0], sum(current[0].read().histograms.holds))
            except (RuntimeError, AttributeError) as error:
                errors.add(str(error))

    current[0] = busy.watch(histograms=True)
    interval = sys.getswitchinterval()
    thread = threading.Thread(target=read)
    thread.start()
    try:
        sys.setswitchinterval(1e-5)
        end = time.monotonic() + 1
        while time.monotonic() < end:
            with busy.watch(histograms=True) as current[0]:
                time.sleep(0.0002)
    finally:
        sys.setswitchinterval(interval)
        over.set()
        thread.join()
    assert errors <= {"this watch is not open: call read() while the block runs"}
    assert most[0] < 2000


def test_a_watch_can_be_used_again_after_a_block_that_was_not_metered(monkeypatch):
    def refuse(self):
        raise busy.GilNotMeterable("another tool has redirected the calls")

    w = busy.watch()
    with w:
        busy.with_lock(0.01)
    assert own(w).held_s >= 0.01
    with monkeypatch.context() as patched:
        patched.setattr(GilWindow, "read", refuse)
        with w:
            pass
    assert "another tool" in repr(w) and w._open is None
    with pytest.raises(busy.GilNotMeterable, match="another tool"):
        _ = w.held_share
    for _ in range(2):
        with w:
            with pytest.raises(AttributeError, match="until the block has ended"):
                _ = w.threads
            busy.with_lock(0.02)
        assert own(w).held_s >= 0.02
    with monkeypatch.context() as patched:
        patched.setattr("busy._watch.GilWindow", lambda _: refuse(None))
        with pytest.raises(busy.GilNotMeterable):
            w.__enter__()
    with pytest.raises(AttributeError):
        _ = w.threads
