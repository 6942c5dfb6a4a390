"""How a verdict is reached, over a meter that tells what the test wants."""

import asyncio
import functools
import gc
import signal
import sys
import threading
import time

import pytest
from busy import _beside
from busy._verdict import Refused, verdict

pytestmark = pytest.mark.skipif(
    not getattr(sys, "_is_gil_enabled", lambda: True)(), reason="there is no GIL to meter in this interpreter"
)

MS = 1_000_000


class Row:
    """One thread's part of a window."""

    def __init__(self, held=0, longest=None, waited=0, explicit=0):
        self.held_ns, self.waited_ns, self.voluntary_releases = held, waited, explicit
        self.longest_hold_ns = held if longest is None else longest
        self.forced_drops = self.longest_wait_ns = 0


class FalseMeter:
    """Tells of every call that it took `elapsed` and went as `row` says, and of who asks beside it, that it waited for
    this share of its time."""

    def __init__(self, row, elapsed=20 * MS, asks=0, refusal=None):
        self.row, self.elapsed, self.asks, self.refusal = row, elapsed, asks, refusal
        self.main = self.tid()
        self.others = set()
        self.starts = self.windows = 0

    def tid(self):
        return threading.get_native_id()

    def start(self):
        if self.refusal:
            raise RuntimeError(self.refusal)
        self.starts += 1

    def stop(self):
        self.starts -= 1

    def snapshot(self):
        if self.tid() != self.main:
            self.others.add(self.tid())
        row = Row(waited=int(self.asks * time.monotonic_ns()))
        return 0, {self.main: Row(), **dict.fromkeys(self.others, row)}

    def window(self):
        self.windows += 1
        return self

    def read(self):
        row = self.row() if callable(self.row) else self.row
        return self.elapsed, {self.main: row}

    def close(self):
        self.windows -= 1


def call():
    """Long enough to be told about."""
    end = time.perf_counter() + 0.001
    while time.perf_counter() < end:
        pass


def delay_of_the_caller(monkeypatch, clock):
    """Who asks for the GIL beside it has a core."""
    caller = threading.get_ident()
    monkeypatch.setattr(
        _beside.Delay, "read", lambda _: next(clock) if threading.get_ident() == caller else 0
    )


def state():
    return sys.getswitchinterval(), gc.isenabled()


STATE = state()


@pytest.fixture(autouse=True)
def undisturbed(monkeypatch):
    """What the kernel says of this machine is not what these are about."""
    monkeypatch.setattr(_beside.Delay, "read", lambda _: 0)
    # Nor is how often the thread beside the calls gets a core here and now.
    monkeypatch.setattr(_beside.Insisting, "asked", lambda self, start, end: self._meter.asks * (end - start))
    before, threads = state(), set(threading.enumerate())
    yield
    assert state() == before, "whatever a check changes is put back"
    # One of an earlier test may end meanwhile.
    assert set(threading.enumerate()) <= threads, "whom a check starts has ended"


@pytest.mark.parametrize(
    ("word", "row", "asks"),
    [
        ("releases", Row(held=1 * MS, explicit=1), 0),
        ("releases", Row(held=2 * MS, longest=1 * MS, explicit=9), 1),
        ("partly", Row(held=3 * MS, explicit=1), 0),
        ("partly", Row(held=20 * MS, longest=19 * MS, explicit=1), 1),
        ("yields", Row(held=20 * MS, longest=1 * MS), 1),
        ("holds", Row(held=20 * MS), 1),
        ("holds", Row(held=20 * MS, longest=15 * MS), 1),
    ],
)
def test_the_verdict_follows_from_what_is_metered(word, row, asks):
    meter = FalseMeter(row, asks=asks)
    told = verdict(meter, call)
    assert told["verdict"] == word, told
    assert (meter.starts, meter.windows) == (0, 0)
    assert told["held_share"] == pytest.approx(min(1.0, row.held_ns / meter.elapsed))
    assert told["longest_hold_s"] == pytest.approx(row.longest_hold_ns / 1e9)
    assert set(told) == {"verdict", "held_share", "longest_hold_s", "longest_stall_s", "calls", "reason"}
    assert (told["reason"] is None) == (word != "partly")


def test_a_long_hold_is_no_release_however_small_its_share():
    told = verdict(FalseMeter(Row(held=11 * MS, explicit=1), elapsed=1000 * MS), call)
    assert told["verdict"] == "partly" and "11.00 ms" in told["reason"], told


def test_one_hold_among_many_that_does_not_come_again_is_the_machines():
    rows = iter([Row(held=40 * MS, explicit=1)] + [Row(held=1 * MS, explicit=1)] * 1000)
    assert verdict(FalseMeter(lambda: next(rows)), call)["verdict"] == "releases"


def test_one_release_among_many_calls_is_not_the_calls_own():
    rows = iter([Row(held=20 * MS, explicit=1)] + [Row(held=20 * MS)] * 1000)
    assert verdict(FalseMeter(lambda: next(rows), asks=1), call)["verdict"] == "holds"


def test_one_call_that_gives_way_proves_that_it_yields():
    rows = iter([Row(held=20 * MS)] * 30 + [Row(held=20 * MS, longest=2 * MS)] * 1000)
    assert verdict(FalseMeter(lambda: next(rows), asks=1), call)["verdict"] == "yields"


def test_without_anybody_asking_nothing_is_told_of_who_never_releases():
    told = verdict(FalseMeter(Row(held=20 * MS)), call)
    assert told["verdict"] == "inconclusive" and "end what else runs" not in told["reason"], told
    assert "gives the GIL up when asked to" in told["reason"]


@pytest.mark.parametrize("delayed", [1, 19])
def test_time_off_its_core_is_held_against_nobody(monkeypatch, delayed):
    """Of 20 ms it held 4, if it was not kept off its core meanwhile."""
    clock = iter(range(0, 10**12, delayed * MS))
    delay_of_the_caller(monkeypatch, clock)
    told = verdict(FalseMeter(Row(held=4 * MS, explicit=1)), call)
    assert told["verdict"] == ("partly" if delayed == 1 else "inconclusive"), told


def test_a_hold_that_was_long_since_it_had_no_core_is_no_proof_that_it_does_not_give_way(monkeypatch):
    """It held the GIL for 20 ms, 12 at a stretch: off its core for 10 of them, it held 2 of 10."""
    clock = iter(range(0, 10**12, 10 * MS))
    delay_of_the_caller(monkeypatch, clock)
    told = verdict(FalseMeter(Row(held=20 * MS, longest=12 * MS), asks=1), call)
    assert told["verdict"] == "inconclusive", told


def test_pieces_each_of_which_holds_for_long_are_no_giving_way():
    row = Row(held=100 * MS, longest=40 * MS)
    assert verdict(FalseMeter(row, elapsed=100 * MS, asks=1), call)["verdict"] == "holds"


ASKED = _beside.Insisting.asked


@pytest.mark.parametrize(
    ("rounds", "asked"),
    [
        ([], 0),
        (
            [(9, 21, 11)],
            9,
        ),  # a round of 12 s, in 10 of which the call ran: 11 of them it waited, so 9 of the 10
        ([(9, 21, 1)], 0),  # it was kept off its core for most of what it waited
        ([(10, 14, 3), (14, 20, 5)], 5),  # at one time: each of two may have been answered at once
        ([(0, 9, 9), (21, 30, 9)], 0),  # before and after
        ([(0, 11, 11)], 1),
    ],
)
def test_only_what_was_asked_in_vain_inside_the_call_proves_that_it_holds(rounds, asked):
    insisting = _beside.Insisting(None, None, 0)
    insisting._rounds = rounds
    assert ASKED(insisting, 10, 20) == asked


def test_who_had_no_core_to_ask_from_proves_nothing(monkeypatch):
    """It waited for the GIL all the time, but was kept off its core as long."""
    caller = threading.get_ident()
    monkeypatch.setattr(_beside.Insisting, "asked", ASKED)
    monkeypatch.setattr(
        _beside.Delay, "read", lambda _: 0 if threading.get_ident() == caller else time.monotonic_ns()
    )
    told = verdict(FalseMeter(Row(held=20 * MS), asks=1), call)
    assert told["verdict"] == "inconclusive", told


def test_ctrl_c_at_any_moment_leaves_everything_as_it_was():
    """Whatever it meets, the autouse fixture sees that all is put back."""

    def interrupt(*_):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    meter, interrupts = FalseMeter(Row(held=20 * MS, longest=19 * MS), asks=1), 0
    try:
        for step in range(60):
            try:
                signal.setitimer(signal.ITIMER_REAL, 0.001 + 0.0005 * step)
                verdict(meter, call)
            except KeyboardInterrupt:
                interrupts += 1
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
            assert meter.starts in (0, -1), "not started, or interrupted before it noted so"
            meter.starts = 0
            assert state() == STATE
        assert interrupts > 10
    finally:
        signal.signal(signal.SIGALRM, before)
    assert verdict(meter, call)["verdict"] == "holds", "and the next check has its turn"


def test_a_call_too_short_to_be_told_about_is_inconclusive():
    told = verdict(FalseMeter(Row(held=20 * MS)), int)
    assert told["verdict"] == "inconclusive" and "under 300 us" in told["reason"] and told["calls"] == 3, told


def test_a_meter_that_refuses_is_the_reason_and_nothing_is_called():
    told = verdict(FalseMeter(None, refusal="no such thing here"), pytest.fail)
    assert (told["verdict"], told["reason"], told["calls"]) == ("inconclusive", "no such thing here", 0)


class Boom(Exception):
    pass


@pytest.mark.parametrize("which", [1, 2, 5, 40, 60])
@pytest.mark.parametrize("error", [Boom, KeyboardInterrupt, SystemExit])
def test_what_the_call_raises_comes_through_and_all_is_put_back(which, error):
    calls = []

    def fails():
        calls.append(call())
        if len(calls) == which:
            raise error

    meter = FalseMeter(Row(held=20 * MS), asks=1)
    with pytest.raises(error) as raised:
        while True:
            verdict(meter, fails)
    assert raised.traceback[-1].name == "fails"
    assert (meter.starts, meter.windows) == (0, 0)
    assert verdict(meter, call)["verdict"] == "holds", "and the next check has its turn"


def test_garbage_collection_stays_off_if_it_was():
    gc.disable()
    try:
        verdict(FalseMeter(Row(held=20 * MS), asks=1), call)
        assert not gc.isenabled()
    finally:
        gc.enable()


def generator():
    yield


async def coroutine():
    pass


async def asynchronous_generator():
    yield


class Awaitable:
    def __await__(self):
        yield


class CallableGenerator:
    __call__ = generator


def refused(function):
    with pytest.raises(Refused) as raised:
        verdict(FalseMeter(Row(held=20 * MS)), function)
    return str(raised.value)


@pytest.mark.parametrize(
    ("function", "word"),
    [
        (generator, "generator function"),
        (coroutine, "coroutine function"),
        (asynchronous_generator, "asynchronous generator function"),
        (functools.partial(functools.partial(coroutine)), "coroutine function"),
        (CallableGenerator(), "generator function"),
        (lambda: generator(), "a generator"),
        (lambda: coroutine(), "a coroutine"),
        (lambda: asynchronous_generator(), "an asynchronous generator"),
        (Awaitable, "an awaitable"),
        (lambda: asyncio.sleep(0), "a coroutine"),
        (3, "a function to call, found 3"),
        (None, "found None"),
    ],
)
def test_what_a_call_does_not_run_is_refused_with_the_reason(function, word):
    assert word in refused(function)


def test_arguments_are_handed_on():
    seen = []

    def function(*args, **kwargs):
        call()
        seen.append((args, kwargs))

    verdict(FalseMeter(Row(held=20 * MS), asks=1), function, (1, 2), {"x": 3})
    assert set(map(repr, seen)) == {"((1, 2), {'x': 3})"}


def test_a_check_inside_a_checked_function_is_refused_at_once():
    meter = FalseMeter(Row(held=20 * MS))
    with pytest.raises(RuntimeError, match="inside a function that is being checked"):
        verdict(meter, verdict, (meter, call))


def test_checks_in_several_threads_take_turns():
    inside, most = [], []

    def function():
        inside.append(1)
        most.append(len(inside))
        call()
        inside.pop()

    def check():
        assert verdict(FalseMeter(Row(held=1 * MS, explicit=1)), function)["verdict"] == "releases"

    threads = [threading.Thread(target=check) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(most) == 1
