"""busy.check over the module's own meter: calls whose answers are known, callables of every kind, what it refuses."""

import asyncio
import functools
import gc
import hashlib
import json
import sys
import threading

import busy
import pytest

if not getattr(sys, "_is_gil_enabled", lambda: True)():
    pytest.skip("there is no GIL in this interpreter", allow_module_level=True)

VERDICTS = ("releases", "partly", "yields", "holds", "no-gil", "inconclusive")


class Python:
    """Work in pure Python, as a method, by a call, and by making one."""

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
def test_any_callable_is_told_what_it_does(expected, function, args):
    # A machine that gives it no core may leave it undecided, but never lets it say the contrary.
    found = busy.check(function, *args)
    assert found.verdict in (expected, "inconclusive"), found
    assert found.calls >= 1
    assert (found.reason is None) or isinstance(found.reason, str)


def test_a_verdict_shows_its_figures():
    found = busy.Verdict("partly", 0.25, 0.02, 0.0005, 3, "it holds on")
    assert found.to_dict() == {
        "verdict": "partly",
        "held_share": 0.25,
        "longest_hold_s": 0.02,
        "longest_stall_s": 0.0005,
        "calls": 3,
        "reason": "it holds on",
    }
    assert json.loads(json.dumps(found.to_dict())) == found.to_dict()
    line = "partly: holds the GIL for 25.0 % of its time, longest hold 20 ms, longest stall of others 500 µs, 3 calls"
    assert str(found) == line + " (it holds on)"
    assert repr(found) == f"<busy.Verdict {found}>"
    assert str(busy.Verdict("inconclusive", None, None, None, 1, None)) == "inconclusive: 1 call"
    with pytest.raises(AttributeError):
        found.verdict = "releases"


def test_arguments_are_handed_on_and_exceptions_come_through():
    got = []

    def take(*args, **kwargs):
        got.append((args, kwargs))
        raise LookupError("as asked")

    with pytest.raises(LookupError, match="as asked"):
        busy.check(take, 1, function=2, meter=3)
    assert got == [((1,), {"function": 2, "meter": 3})]
    with busy.watch():
        pass


def test_everything_is_as_it_was_afterwards():
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
def test_what_would_not_run_is_refused_with_the_reason(function):
    with pytest.raises(
        TypeError, match="check a function that runs it to its end|expected a function to call"
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
    assert "give it more to do" in found.reason


def test_where_the_gil_can_not_be_metered_the_reason_is_told():
    watches = [busy.watch().__enter__() for _ in range(16)]
    try:
        found = busy.check(busy.with_lock, 0.01)
    finally:
        for w in watches:
            w.__exit__()
    assert (found.verdict, found.held_share) == ("inconclusive", None)
    assert "close one first" in found.reason


def test_a_check_inside_a_watch_and_a_watch_inside_a_check():
    @busy.watch()
    def wait():
        busy.with_lock(0.01)

    with busy.watch() as w:
        found = busy.check(wait)
    assert found.verdict in ("holds", "partly", "yields", "inconclusive"), found
    assert w.wall_s > wait.watch.wall_s >= 0.01
