"""busy.watch: known holds, waits and CPU times; threads that end; watches that nest and overlap."""

import asyncio
import functools
import gc
import json
import os
import subprocess
import sys
import threading
import time

import busy
import pytest
from busy._gil import GilWindow

if not getattr(sys, "_is_gil_enabled", lambda: True)():
    pytest.skip("there is no GIL to watch in this interpreter", allow_module_level=True)


def own(w):
    return w.threads[threading.get_native_id()]


def in_thread(function, name=None):
    thread = threading.Thread(target=function, name=name)
    thread.start()
    thread.join()
    return thread


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


def test_a_decorated_function_has_histograms():
    @busy.watch(histograms=True)
    def hold():
        time.sleep(0)

    hold()
    assert sum(hold.watch.histograms.holds) >= 1


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


def test_the_wait_of_a_waiter_is_reported():
    w, thread = watched_wait()
    waited = w.threads[thread.native_id]
    assert waited.name == "waits"
    # It requests the GIL 10 ms after it has released it, plus its run delay.
    assert 0 < waited.longest_wait_s <= waited.waited_s
    assert waited.longest_wait_s > 0.1
    assert own(w).longest_hold_s >= 0.3


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


def is_alive(tid):
    try:
        time.clock_gettime((~tid << 3) | 6)
    except OSError:
        return False
    return True


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


def test_the_text_of_a_watch_has_its_figures():
    with busy.watch() as w:
        busy.with_lock(0.02)
    name = f"{threading.current_thread().name} ({threading.get_native_id()})"
    assert repr(w).startswith("<busy.watch: ") and " GIL held " in repr(w) and name in repr(w)
    assert "\n" not in repr(w)
    lines = str(w).splitlines()
    assert lines[0].startswith("the GIL was held for ") and any(name in line for line in lines[1:])
    assert "longest" in lines[1] and "CPU" in lines[1]


def test_as_a_decorator_it_watches_each_call():
    @busy.watch()
    def wait(seconds, *, fail=False):
        """A wait."""
        busy.with_lock(seconds)
        if fail:
            raise ValueError("as expected")
        return "done"

    assert wait.watch is None and wait.__doc__ == "A wait." and wait.__name__ == "wait"
    assert wait(0.02) == "done"
    first = wait.watch
    with pytest.raises(ValueError, match="as expected"):
        wait(0.01, fail=True)
    assert wait.watch is not first
    assert own(first).held_s >= 0.02 and own(wait.watch).held_s >= 0.01


def test_recursion_of_a_decorated_function_nests():
    @busy.watch()
    def down(depth):
        if depth:
            down(depth - 1)

    down(100)
    assert down.watch.wall_s > 0


def test_a_coroutine_function_is_watched_to_its_end():
    @busy.watch()
    async def wait():
        await asyncio.sleep(0.05)
        busy.with_lock(0.02)
        return "done"

    assert asyncio.run(wait()) == "done"
    assert wait.watch.wall_s >= 0.06 and own(wait.watch).longest_hold_s >= 0.02


async def agenerator():
    yield


@pytest.mark.parametrize(
    "target", [lambda: (yield), agenerator, 5, dict], ids=lambda target: str(target)[:20]
)
def test_the_decorator_refuses_generators_and_other_objects(target):
    with pytest.raises(TypeError, match="generator|expected a function"):
        busy.watch()(target)


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


def test_200_parallel_calls_of_a_decorated_function_are_all_watched():
    gate, found = threading.Barrier(200), []

    @busy.watch()
    def wait():
        gate.wait(60)
        return threading.get_native_id()

    threads = [threading.Thread(target=lambda: found.append(wait())) for _ in range(200)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 200
    assert wait.watch.threads.keys() >= set(found)


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


def test_the_figures_of_a_forked_child_begin_at_the_fork(child):
    forked = child("""
        import busy, warnings
        warnings.simplefilter("ignore")
        with busy.watch() as w:
            busy.with_lock(0.3)
            busy.without_lock(0.001)
            pid = os.fork()
            if pid == 0:
                for _ in range(10):
                    busy.with_lock(0.005)
                    busy.without_lock(0.0001)
            else:
                _, status = os.waitpid(pid, 0)
        if pid == 0:
            own = w.threads[threading.get_native_id()]
            good = 0.05 <= own.held_s <= w.wall_s and own.cpu_s < 0.3 and len(w.threads) == 1
            # The parent's hold of 0.3 s does not count.
            good = good and own.longest_hold_s < 0.04
            threading.Thread(target=lambda: None).start()
            os._exit(0 if good else 7)
        report(status=status, wall=w.wall_s, held=w.threads[threading.get_native_id()].held_s)
    """)
    found = forked.report()
    assert found["status"] == 0
    assert found["held"] >= 0.3 and found["wall"] >= 0.35


def test_a_forked_child_forgets_the_threads_and_watches_of_its_parent(child):
    forked = child("""
        import busy, gc, warnings
        from busy import _ended_threads
        warnings.simplefilter("ignore")
        go, open = threading.Event(), threading.Semaphore(0)
        def run():
            with busy.watch():
                open.release()
                go.wait()
        def ended():
            with_lock(0.002)
        watching = [threading.Thread(target=run) for _ in range(30)]
        with busy.watch() as w:
            for thread in watching:
                thread.start()
                open.acquire()
            for _ in range(5):
                thread = threading.Thread(target=ended)
                thread.start()
                thread.join()
            pid = os.fork()
            if pid == 0:
                with busy.watch() as inner:
                    thread = threading.Thread(target=ended)
                    thread.start()
                    thread.join()
                recorders = len(_ended_threads._recorders)
            else:
                _, status = os.waitpid(pid, 0)
                go.set()
        if pid == 0:
            own = {threading.get_native_id(), thread.native_id}
            good = recorders == 1 and set(w.threads) == set(inner.threads) == own
            good = good and w.threads[thread.native_id].held_s >= 0.002
            os._exit(0 if good and type(threading._active) is dict else 7)
        for thread in watching:
            thread.join()
        report(status=status, threads=len(w.threads))
    """)
    assert forked.report() == {"status": 0, "threads": 36}


def test_the_gil_of_another_interpreter_is_reported_separately(child):
    if sys.version_info < (3, 12):
        pytest.skip("before 3.12 all interpreters of a process share one GIL")
    other = child("""
        import busy
        try:
            import _interpreters as interpreters
            run = interpreters.exec
        except ImportError:
            import _xxsubinterpreters as interpreters
            run = interpreters.run_string
        id = interpreters.create()
        with busy.watch() as w:
            run(id, "import time\\nend = time.monotonic() + 0.3\\nwhile time.monotonic() < end: pass")
        report(share=w.others[int(id)], own=w.held_share, shown=str(w))
    """)
    found = other.report()
    assert found["share"] > 0.5 > found["own"]
    assert "the GIL of interpreter " in found["shown"]


def test_importing_busy_does_not_import_the_modules_that_a_watch_needs():
    code = """
import sys
before = set(sys.modules)
import busy
assert not {"ctypes", "threading", "inspect", "busy._watch"} & (set(sys.modules) - before)
assert "watch" in dir(busy)
with busy.watch():
    pass
assert busy.watch is busy.watch and "busy._watch" in sys.modules
try:
    busy.wotch
except AttributeError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.stderr, done.stdout) == ("", "module 'busy' has no attribute 'wotch'\n")


def test_a_child_forked_during_the_first_use_of_watch_can_watch(child):
    forked = child("""
        import busy

        class Slow:
            def find_spec(self, name, *_):
                if name == "busy._watch":
                    is_importing.set()
                    time.sleep(0.5)

        is_importing = threading.Event()
        sys.meta_path.insert(0, Slow())
        other = threading.Thread(target=lambda: busy.watch)
        other.start()
        is_importing.wait()
        pid = os.fork()
        if pid == 0:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(10)
            with busy.watch() as w:
                busy.with_lock(0.01)
            os._exit(0 if list(w.threads.values())[0].held_s >= 0.01 else 1)
        other.join()
        report(status=os.waitpid(pid, 0)[1])
    """)
    assert forked.report() == {"status": 0}


def test_a_thread_is_not_named_after_the_greenlets_that_it_runs(child):
    # As gevent's patch does, for which threading has a Thread of each greenlet.
    watching = child("""
        import busy

        class Greenlet(threading.Thread):
            native_id = threading.get_native_id()
            ident = 7

            def is_alive(self):
                return True

        with busy.watch() as w:
            threading._active[7] = Greenlet(name="greenlet")
        del threading._active[7]
        report(names=[thread.name for thread in w.threads.values()])
    """)
    assert watching.report() == {"names": ["MainThread"]}


def test_without_parentheses_it_decorates_a_function():
    @busy.watch
    def wait(seconds):
        """A wait."""
        busy.with_lock(seconds)

    @busy.watch
    async def sleep():
        await asyncio.sleep(0.01)

    wait(0.02)
    asyncio.run(sleep())
    assert own(wait.watch).held_s >= 0.02 and wait.__doc__ == "A wait."
    assert sleep.watch.wall_s >= 0.01
    for wrong in (5, None, dict):
        with pytest.raises(TypeError, match="expected a function to watch, found"):
            busy.watch(wrong)


def test_a_decorated_function_runs_unwatched_if_the_gil_cannot_be_metered(child):
    unwatched = child("""
        import asyncio, busy, resource
        @busy.watch
        def wait(depth):
            with_lock(0.001)
            return wait(depth - 1) if depth else "done"
        @busy.watch
        async def sleep():
            await asyncio.sleep(0.001)
            return "done"
        # Only so many windows fit into this address space.
        with busy.watch():
            limit = int(open("/proc/self/statm").read().split()[0]) * os.sysconf("SC_PAGE_SIZE") + (8 << 20)
            resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        wait(10)
        watched = wait.watch.wall_s
        watches = []
        try:
            while len(watches) < 1000:
                watches.append(busy.watch().__enter__())
        except RuntimeError:
            pass
        results = [wait(3), asyncio.run(sleep())]
        errors = []
        def note(call):
            try:
                errors.append(repr(call()))
            except BaseException as error:
                errors.append(f"{type(error).__name__}: {error}")
        note(lambda: wait.watch.held_share)
        note(lambda: sleep.watch.to_dict())
        note(lambda: wait.watch.read())
        note(lambda: wait.watch)
        note(lambda: busy.watch().__enter__())
        for w in watches:
            w.__exit__()
        wait(3)
        report(watched=watched, results=results, errors=errors, again=wait.watch.wall_s)
    """)
    found = unwatched.report()
    assert found["watched"] >= 0.011 and found["results"] == ["done", "done"]
    reason = "there is no address space for another window of the GIL meter: close one first"
    refused = f"GilNotMeterable: {reason}"
    assert found["errors"] == [refused, refused, refused, f"<busy.watch, not watched: {reason}>", refused]
    assert found["again"] >= 0.004, "there are free windows again"


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


def test_an_object_with_an_asynchronous_call_is_watched_until_it_ends():
    class Callable:
        async def __call__(self):
            await asyncio.sleep(0.05)
            return 7

    for function in (Callable(), functools.partial(Callable())):
        watched = busy.watch(function)
        assert asyncio.run(watched()) == 7
        assert watched.watch.wall_s >= 0.05


def test_what_a_call_does_not_run_is_refused():
    class Generator:
        def __call__(self):
            yield

    def function():
        pass

    with pytest.raises(TypeError, match="cannot watch a generator function"):
        busy.watch(Generator())
    for wrong in (staticmethod(function), classmethod(function)):
        with pytest.raises(TypeError, match=rf"put @{type(wrong).__name__} above @busy\.watch"):
            busy.watch(wrong)
