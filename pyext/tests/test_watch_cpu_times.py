"""The CPU times and run delays of a watch."""

import os
import threading
import time

import busy
import pytest
from watching import in_thread, own


def test_the_cpu_time_of_a_thread_that_ended_during_the_watch_is_reported():
    with busy.watch() as w:
        thread = in_thread(lambda: spend(0.1), name="has ended")
    row = w.threads[thread.native_id]
    assert row.name == "has ended"
    assert 0.1 <= row.cpu_s < 0.1 + 0.1
    assert type(threading._active) is dict, "threading is restored"


def spend(seconds):
    """Spins until the calling thread has used `seconds` of CPU time in total."""
    while time.thread_time() < seconds:
        pass


def test_cpu_time_from_before_the_watch_does_not_count():
    started, go, ended = threading.Event(), threading.Event(), threading.Event()

    def run():
        spend(0.2)
        started.set()
        go.wait()
        spend(0.25)
        ended.set()

    thread = threading.Thread(target=run)
    thread.start()
    started.wait()
    with busy.watch() as w:
        go.set()
        ended.wait()
        thread.join()
    assert 0.04 < w.threads[thread.native_id].cpu_s < 0.2


def is_alive(tid):
    try:
        time.clock_gettime((~tid << 3) | 6)
    except OSError:
        return False
    return True


def test_an_ended_thread_that_threading_does_not_know_has_no_name_and_no_cpu_time():
    import _thread

    tids, done = [], _thread.allocate_lock()
    done.acquire()

    def run():
        tids.append(_thread.get_native_id())
        busy.with_lock(0.05)
        done.release()

    with busy.watch() as w:
        _thread.start_new_thread(run, ())
        done.acquire()
        deadline = time.monotonic() + 10
        while is_alive(tids[0]) and time.monotonic() < deadline:
            time.sleep(0.001)
    row = w.threads[tids[0]]
    assert (row.name, row.cpu_s) == (None, None)
    assert row.held_s >= 0.05
    assert f"thread {tids[0]}" in repr(w) and "CPU unknown" in str(w)


def test_cpu_times_are_unknown_if_the_first_reading_failed(child):
    watching = child("""
        import busy, resource
        def run():
            while time.thread_time() < 0.3:
                pass
            ready.set()
            over.wait()
        ready, over = threading.Event(), threading.Event()
        thread = threading.Thread(target=run)
        thread.start()
        ready.wait()
        with busy.watch():
            pass
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
        files = []
        try:
            while True:
                files.append(os.open("/dev/null", os.O_RDONLY))
        except OSError:
            pass
        w = busy.watch().__enter__()
        for file in files:
            os.close(file)
        started = threading.Thread(target=lambda: None)
        started.start()
        started.join()
        w.__exit__()
        over.set()
        thread.join()
        own, other = w.threads[threading.get_native_id()], w.threads[thread.native_id]
        report(own=own.cpu_s, other=[other.cpu_s, other.run_delay_s])
    """)
    found = watching.report()
    assert 0 < found["own"] < 0.2 and found["other"] == [None, None]


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs threads on one core")
def test_run_delay_is_the_time_without_a_core(child):
    delayed = child("""
        import busy
        os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
        def run():
            without_lock(0.1)
        def released():
            threads = [threading.Thread(target=run) for _ in range(2)]
            with busy.watch() as w:
                for thread in threads:
                    thread.start()
                without_lock(0.3)
                for thread in threads:
                    thread.join()
            return [w.wall_s] + [w.threads[tid].run_delay_s for tid in
                                 [threading.get_native_id()] + [thread.native_id for thread in threads]]
        report(delays=released())
    """)
    wall, own_delay, *delays = delayed.report()["delays"]
    # Three threads spin for a tenth of a second on one core. Two of them end before the watch does.
    assert all(0.02 < delay <= wall for delay in (own_delay, *delays)), (wall, own_delay, delays)


def test_run_delay_from_before_the_watch_does_not_count(monkeypatch):
    tid = threading.get_native_id()
    before = busy._busy.own_run_delay()
    assert before <= busy._busy.run_delays()[tid] <= busy._busy.own_run_delay()
    ended = threading.Event()
    thread = threading.Thread(target=ended.wait)
    thread.start()
    # The delay of the calling thread is also read between the reads of the others, next to the block.
    others = iter([{tid: 0, thread.native_id: 7}, {tid: 100, thread.native_id: 10**15}])
    own_delay = iter([5, 9])
    monkeypatch.setattr("busy._watch.run_delays", lambda: next(others))
    monkeypatch.setattr("busy._watch.own_run_delay", lambda: next(own_delay))
    with busy.watch() as w:
        pass
    monkeypatch.undo()
    ended.set()
    thread.join()
    assert own(w).run_delay_s == 4e-9
    assert w.threads[thread.native_id].run_delay_s == w.wall_s, "no longer than the watch"
    assert ", run delay 4 ns" in str(w)


def test_where_the_kernel_reports_no_run_delay_it_is_unknown(monkeypatch):
    monkeypatch.setattr("busy._watch.run_delays", dict)
    monkeypatch.setattr("busy._watch.own_run_delay", lambda: None)
    with busy.watch() as w:
        pass
    assert own(w).run_delay_s is None and own(w).cpu_s > 0
    assert "run delay" not in str(w)
