"""busy.check with the meter of the module: calls with known verdicts, callables of every kind, and refusals."""

import asyncio
import functools
import gc
import hashlib
import itertools
import json
import logging
import os
import pathlib
import subprocess
import sys
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor

import busy
import pytest

if not getattr(sys, "_is_gil_enabled", lambda: True)():
    pytest.skip("there is no GIL in this interpreter", allow_module_level=True)

VERDICTS = ("releases", "partly", "yields", "holds", "no-gil", "inconclusive")


class Python:
    """Pure Python work in a method, in __call__ and in __init__."""

    def __init__(self, steps=200_000):
        self.count = 0
        self.add(steps)

    def add(self, steps):
        for _ in range(steps):
            self.count += 1

    def __call__(self):
        self.add(200_000)


@pytest.mark.parametrize(
    ("expected", "function", "args"),
    [
        ("holds", busy.with_lock, [0.03]),
        ("holds", functools.partial(busy.with_lock, 0.03), []),
        ("holds", json.dumps, [list(range(300_000))]),
        ("releases", busy.without_lock, [0.03]),
        ("releases", hashlib.sha256, [bytes(20_000_000)]),
        ("yields", Python().add, [200_000]),
        ("yields", Python, []),
        ("yields", Python(), []),
    ],
    ids=["builtin", "partial", "function", "released", "type of C", "bound method", "class", "callable"],
)
def test_any_callable_gets_its_verdict(expected, function, args):
    # On a busy machine a verdict may be inconclusive, but must never be wrong.
    found = busy.check(function, *args)
    assert found.verdict in (expected, "inconclusive"), found
    assert found.calls >= 1
    assert (found.reason is None) or isinstance(found.reason, str)


DATA = list(range(300_000))


def log_and_dump():
    LOG.warning("a release of a few microseconds")
    json.dumps(DATA)


def load():
    with open(FILE) as file:
        json.load(file)


def sleep_and_loop():
    time.sleep(0)
    for _ in range(400_000):
        pass


@pytest.fixture(scope="module", autouse=True)
def file_and_log(tmp_path_factory):
    global FILE, LOG
    FILE = tmp_path_factory.mktemp("check") / "data.json"
    FILE.write_text(json.dumps(DATA))
    LOG = logging.Logger("busy")
    LOG.addHandler(logging.FileHandler(FILE.with_name("log")))
    yield
    LOG.handlers[0].close()


@pytest.mark.parametrize(
    ("expected", "function"), [("holds", log_and_dump), ("holds", load), ("yields", sleep_and_loop)]
)
def test_a_moment_without_the_gil_makes_no_other_verdict_and_the_reason_names_it(expected, function):
    found = busy.check(function)
    assert found.verdict in (expected, "inconclusive"), found
    if found.verdict == expected:
        assert found.held_share >= 0.9 and "the call releases the GIL" in found.reason, found


def test_the_work_that_other_threads_do_for_a_call_is_part_of_it():
    with ThreadPoolExecutor(1, thread_name_prefix="worker") as pool:
        found = busy.check(lambda: pool.submit(json.dumps, DATA).result())
        assert found.verdict in ("holds", "inconclusive"), found
        assert "worker_0" in found.reason, found
        if found.verdict == "holds":
            assert found.held_share > 0.9 and found.longest_stall_s > 0.002, found


def test_the_holds_of_a_thread_that_runs_anyway_are_not_part_of_a_call():
    over = threading.Event()

    def spin():
        while not over.is_set():
            pass

    thread = threading.Thread(target=spin)
    thread.start()
    try:
        found = busy.check(time.sleep, 0.02)
    finally:
        over.set()
        thread.join()
    assert found.verdict in ("releases", "inconclusive"), found
    assert "other threads" not in (found.reason or ""), found


def test_a_self_test_that_other_processes_disturb_is_no_failed_one():
    root = pathlib.Path(__file__).parents[2]
    folders = [str(root / "pyext/python/busy"), str(root / "src/provision/scripts")]
    code = f"""if True:
        import sys; sys.path[:0] = {folders!r}
        import check
        check.known_calls = lambda libbusy: [("with_lock", None, lambda found: False)]
        for is_disturbed in (True, False):
            found = {{"verdict": "inconclusive", "calls": 3, "disturbed": is_disturbed, "reason": "the reason"}}
            check.verdict = lambda *_: found
            print(check.self_test(None, None))
        """
    done = subprocess.run([sys.executable, "-B", "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines() == [
        "this machine is too busy to judge even a known call (the self-test's with_lock): the reason",
        "self-test failed: expected holds for with_lock, measured inconclusive (the reason)",
    ], done.stderr


def test_the_text_of_a_verdict_has_its_figures():
    bounds = {"held_share": 0.24, "longest_stall_s": 0.001, "longest_hold_s": 0.0195}
    found = busy.Verdict("partly", 0.25, 0.02, 0.005, bounds, 3, False, "it holds on")
    assert found.to_dict() == {
        "verdict": "partly",
        "held_share": 0.25,
        "longest_hold_s": 0.02,
        "longest_stall_s": 0.005,
        "lower_bounds": bounds,
        "calls": 3,
        "disturbed": False,
        "reason": "it holds on",
    }
    assert json.loads(json.dumps(found.to_dict())) == found.to_dict()
    figures = "holds the GIL for 25.0 % of its time, longest hold 20 ms, longest stall of others at most 5 ms"
    assert str(found) == f"partly: {figures}, 3 calls (it holds on)"
    assert repr(found) == f"<busy.Verdict {found}>"
    loaded = busy.Verdict("partly", 0.25, None, None, {"held_share": 0.1}, 3, False, None)
    assert str(loaded) == "partly: holds the GIL for at most 25.0 % of its time, 3 calls"
    assert str(busy.Verdict("inconclusive", None, None, None, {}, 1, True, None)) == "inconclusive: 1 call"
    with pytest.raises(AttributeError):
        found.verdict = "releases"


def test_arguments_are_passed_on_and_exceptions_propagate():
    got = []

    def take(*args, **kwargs):
        got.append((args, kwargs))
        raise LookupError("as expected")

    with pytest.raises(LookupError, match="as expected"):
        busy.check(take, 1, function=2, meter=3)
    assert got == [((1,), {"function": 2, "meter": 3})]
    with busy.watch():
        pass


def test_a_stop_iteration_of_the_function_propagates():
    # The first calls are made one by one, the others by a loop of C code.
    for wrong in (1, 3, 50, 300):

        def check(wrong=wrong):
            calls = itertools.count(1)

            def call():
                busy.without_lock(0.00002)
                if next(calls) == wrong:
                    raise StopIteration

            busy.check(call)

        with pytest.raises(StopIteration):
            # On a loaded machine a check may end before so many calls.
            for _ in range(5):
                check()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork(2)")
def test_in_a_child_that_is_forked_during_a_check_nothing_is_changed():
    interval, found = sys.getswitchinterval(), set()

    def forked(also=lambda: True):
        pid = os.fork()
        if not pid:
            good = False
            try:
                good = gc.isenabled() and sys.getswitchinterval() == interval and also()
            finally:
                os._exit(0 if good else 1)
        found.add(os.waitpid(pid, 0)[1])

    def call():
        forked()
        end = time.perf_counter() + 0.02
        while time.perf_counter() < end:
            pass

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        busy.check(call)
        assert found == {0}
        # By another thread, in each pass.
        thread = threading.Thread(target=busy.check, args=(sum, range(300_000)))
        thread.start()
        while thread.is_alive():
            forked()
        assert found == {0}
        # In the function that is being checked, the child may use a check.
        found.clear()
        with pytest.raises(LookupError):
            busy.check(lambda: forked(lambda: busy.check(time.sleep, 0.001).calls > 0) or {}["end"])
    assert found == {0}
    assert gc.isenabled() and sys.getswitchinterval() == interval


def test_a_check_restores_what_it_changes():
    interval = sys.getswitchinterval()
    threads = set(threading.enumerate())
    assert gc.isenabled()
    busy.check(busy.with_lock, 0.01)
    assert sys.getswitchinterval() == interval
    assert set(threading.enumerate()) <= threads
    assert gc.isenabled()


def generator():
    yield


async def coroutine():
    pass


async def asynchronous_generator():
    yield


class Awaitable:
    def __await__(self):
        yield


@pytest.mark.parametrize(
    "function",
    [
        generator,
        coroutine,
        asynchronous_generator,
        functools.partial(coroutine),
        lambda: generator(),
        lambda: coroutine(),
        Awaitable,
        5,
    ],
)
def test_functions_that_a_call_does_not_run_are_refused_with_the_reason(function):
    with pytest.raises(
        TypeError, match="check a function that runs it to completion|expected a function to call"
    ):
        busy.check(function)


def test_a_function_that_runs_a_coroutine_is_checked():
    found = busy.check(lambda: asyncio.run(asyncio.sleep(0.03)))
    assert found.verdict in ("releases", "inconclusive"), found


def test_checks_of_several_threads_take_turns():
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(busy.check(busy.with_lock, 0.01))) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(found) == 3
    assert {one.verdict for one in found} <= {"holds", "inconclusive"}, found


def test_a_call_that_is_too_short_is_inconclusive():
    found = busy.check(int)
    assert found.verdict == "inconclusive"
    assert "give the call more work" in found.reason


def test_if_the_gil_cannot_be_metered_the_verdict_has_the_reason(monkeypatch):
    def gil_window():
        raise busy.GilNotMeterable("this is another platform")

    monkeypatch.setattr("busy._check.GilWindow", gil_window)
    found = busy.check(busy.with_lock, 0.01)
    assert (found.verdict, found.held_share) == ("inconclusive", None)
    assert found.reason == "this is another platform"


def test_a_check_works_inside_a_watch_and_a_watch_inside_a_check():
    @busy.watch()
    def wait():
        busy.with_lock(0.01)

    with busy.watch() as w:
        found = busy.check(wait)
    assert found.verdict in ("holds", "partly", "yields", "inconclusive"), found
    assert w.wall_s > wait.watch.wall_s >= 0.01
