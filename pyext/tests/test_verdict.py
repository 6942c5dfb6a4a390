"""The passes of a check, with a meter that reports the figures set by the test."""

import asyncio
import functools
import gc
import itertools
import signal
import sys
import threading
import time

import pytest
from busy import _background, _samples, _verdict
from busy._verdict import Refused, verdict

pytestmark = pytest.mark.skipif(
    not getattr(sys, "_is_gil_enabled", lambda: True)(), reason="there is no GIL to meter in this interpreter"
)

MS = 1_000_000


class Row:
    """One thread's part of a window."""

    def __init__(self, held=0, longest=None, waited=0, voluntary=0):
        self.held_ns, self.waited_ns, self.voluntary_releases = held, waited, voluntary
        self.longest_hold_ns = held if longest is None else longest
        self.forced_drops = self.longest_wait_ns = 0


class FakeMeter:
    """A meter which reports that each call took `elapsed` and has the totals `row`, and that the thread beside it
    waited for the GIL for the share `requested` of its time."""

    def __init__(self, row, elapsed=20 * MS, requested=0, refusal=None):
        self.row, self.elapsed, self.requested, self.refusal = row, elapsed, requested, refusal
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
        row = Row(waited=int(self.requested * time.monotonic_ns()))
        # The prober's rounds bound the holds; here they bound nothing.
        held = Row(held=1000 * time.monotonic_ns())
        return 0, {self.main: held, **dict.fromkeys(self.others, row)}

    def window(self):
        self.windows += 1
        return self

    def read(self):
        row = self.row() if callable(self.row) else self.row
        return self.elapsed, {self.main: row}

    def close(self):
        self.windows -= 1


def call():
    """Runs long enough to be measured."""
    end = time.perf_counter() + 0.001
    while time.perf_counter() < end:
        pass


def set_run_delay_of_the_caller(monkeypatch, clock):
    """Sets the run delay of the calling thread; the run delay of the contender is 0."""
    caller = threading.get_ident()
    monkeypatch.setattr(
        _background.RunDelays, "read", lambda *_: next(clock) if threading.get_ident() == caller else 0
    )


def state():
    return sys.getswitchinterval(), gc.isenabled()


STATE = state()


@pytest.fixture(autouse=True)
def undisturbed(monkeypatch):
    """Makes the tests independent of the load of this machine."""
    monkeypatch.setattr(_background.RunDelays, "read", lambda *_: 0)
    monkeypatch.setattr(_background.RunDelays, "stolen", lambda *_: 0)
    # Nor do they depend on how often the contender gets a core.
    monkeypatch.setattr(
        _background.Contender,
        "waited_between",
        lambda self, start, end: self._meter.requested * (end - start),
    )
    before, threads = state(), set(threading.enumerate())
    yield
    assert state() == before, "a check must restore everything that it changes"
    # A thread of an earlier test may end during this one.
    assert set(threading.enumerate()) <= threads, "the threads that a check starts must end"


@pytest.mark.parametrize(
    ("word", "row", "requested"),
    [
        ("releases", Row(held=1 * MS, voluntary=1), 0),
        ("releases", Row(held=2 * MS, longest=1 * MS, voluntary=9), 1),
        ("partly", Row(held=3 * MS, voluntary=1), 0),
        ("partly", Row(held=17 * MS, longest=16 * MS, voluntary=1), 1),
        ("holds", Row(held=20 * MS, longest=19 * MS, voluntary=1), 1),
        ("yields", Row(held=20 * MS, longest=1 * MS, voluntary=50), 1),
        ("yields", Row(held=20 * MS, longest=1 * MS), 1),
        ("holds", Row(held=20 * MS), 1),
        ("holds", Row(held=20 * MS, longest=15 * MS), 1),
    ],
)
def test_the_verdict_follows_from_the_metered_figures(word, row, requested):
    meter = FakeMeter(row, requested=requested)
    found = verdict(meter, call)
    assert found["verdict"] == word, found
    assert (meter.starts, meter.windows) == (0, 0)
    assert found["held_share"] == pytest.approx(min(1.0, row.held_ns / meter.elapsed))
    assert found["longest_hold_s"] == pytest.approx(row.longest_hold_ns / 1e9)
    assert set(found) == {
        "verdict",
        "held_share",
        "longest_hold_s",
        "longest_stall_s",
        "lower_bounds",
        "calls",
        "disturbed",
        "reason",
    }
    releases_and_holds = row.voluntary_releases and word != "releases"
    assert (found["reason"] is None) == (not releases_and_holds), "the reason names the releases"


def test_a_long_hold_prevents_the_verdict_releases_however_small_its_share():
    found = verdict(FakeMeter(Row(held=11 * MS, voluntary=1), elapsed=1000 * MS), call)
    assert found["verdict"] == "partly" and "11 ms" in found["reason"], found


def test_a_long_hold_that_does_not_recur_is_ignored():
    rows = iter([Row(held=40 * MS, voluntary=1)] + [Row(held=1 * MS, voluntary=1)] * 1000)
    assert verdict(FakeMeter(lambda: next(rows)), call)["verdict"] == "releases"


def test_the_share_is_that_of_all_calm_calls_not_of_the_first_ones():
    """The host of a virtual machine slows down the first calls of pass A, which the kernel does not report."""
    warm_up = 3
    rows = iter([Row(held=3 * MS, voluntary=1)] * (warm_up + 5) + [Row(held=1 * MS, voluntary=1)] * 1000)
    found = verdict(FakeMeter(lambda: next(rows)), call)
    assert found["verdict"] == "releases" and found["held_share"] == 1 / 20, found


def test_pieces_that_may_be_nothing_but_run_delay_do_not_prove_that_the_call_yields(monkeypatch):
    """The call held the GIL for 20 ms, in pieces of up to 6. If its run delay of 12 ms fell into the short pieces, it
    held the GIL for 8 ms, 6 of them in one piece."""
    set_run_delay_of_the_caller(monkeypatch, iter(range(0, 10**12, 12 * MS)))
    row = Row(held=20 * MS, longest=6 * MS)
    found = verdict(FakeMeter(row, elapsed=32 * MS, requested=1), call, patience=0)
    assert found["verdict"] == "inconclusive", found


def test_one_call_alone_that_is_cut_up_does_not_prove_that_the_function_yields():
    rows = iter([Row(held=20 * MS)] * 30 + [Row(held=20 * MS, longest=2 * MS)] + [Row(held=20 * MS)] * 1000)
    assert verdict(FakeMeter(lambda: next(rows), requested=1), call)["verdict"] == "holds"


def test_a_release_that_does_not_recur_is_ignored():
    rows = iter([Row(held=20 * MS, voluntary=1)] + [Row(held=20 * MS)] * 1000)
    assert verdict(FakeMeter(lambda: next(rows), requested=1), call)["verdict"] == "holds"


def test_calls_that_drop_the_gil_prove_that_the_function_yields():
    rows = iter([Row(held=20 * MS)] * 24 + [Row(held=20 * MS, longest=2 * MS)] * 1000)
    assert verdict(FakeMeter(lambda: next(rows), requested=1), call)["verdict"] == "yields"


def test_without_requests_a_call_that_keeps_the_gil_is_inconclusive():
    found = verdict(FakeMeter(Row(held=20 * MS)), call)
    assert found["verdict"] == "inconclusive", found
    assert "drops the GIL on request" in found["reason"]


@pytest.mark.parametrize("delayed", [1, 19])
def test_a_run_delay_does_not_count_as_a_hold(monkeypatch, delayed):
    """The call held the GIL for 4 ms of 20, unless it had no CPU during the hold."""
    clock = iter(range(0, 10**12, delayed * MS))
    set_run_delay_of_the_caller(monkeypatch, clock)
    found = verdict(FakeMeter(Row(held=4 * MS, voluntary=1)), call)
    assert found["verdict"] == ("partly" if delayed == 1 else "inconclusive"), found


def test_a_hold_that_a_run_delay_made_long_does_not_prove_that_the_call_keeps_the_gil(monkeypatch):
    """The call held the GIL for 20 ms, 12 of them in one piece. If its run delay of 10 ms fell into that piece, it held
    the GIL for 10 ms, 2 of them in one piece."""
    clock = iter(range(0, 10**12, 10 * MS))
    set_run_delay_of_the_caller(monkeypatch, clock)
    found = verdict(FakeMeter(Row(held=20 * MS, longest=12 * MS), requested=1), call)
    assert found["verdict"] == "inconclusive", found


def test_a_figure_that_a_run_delay_may_have_made_longer_is_an_upper_bound(monkeypatch):
    """It held the GIL for 20 of 100 ms, in two holds. Its run delay of 8 ms may have fallen into one of them."""
    clock = iter(range(0, 10**12, 8 * MS))
    set_run_delay_of_the_caller(monkeypatch, clock)
    row = Row(held=20 * MS, longest=15 * MS, voluntary=2)
    found = verdict(FakeMeter(row, elapsed=100 * MS), call, patience=0)
    assert found["verdict"] == "partly", found
    assert found["longest_hold_s"] == pytest.approx(0.015)
    assert found["lower_bounds"]["longest_hold_s"] == pytest.approx(0.007)


def test_a_held_share_that_a_run_delay_may_have_made_larger_is_an_upper_bound(monkeypatch):
    """It held the GIL for 50 of 100 ms. If its run delay of 20 ms fell into the holds, these are 30 of 80 ms; if it
    fell into the rest of the call, 50 of 80."""
    clock = iter(range(0, 10**12, 20 * MS))
    set_run_delay_of_the_caller(monkeypatch, clock)
    found = verdict(FakeMeter(Row(held=50 * MS, voluntary=1), elapsed=100 * MS), call, patience=0)
    assert found["verdict"] == "partly" and found["held_share"] == pytest.approx(50 / 80), found
    assert found["lower_bounds"]["held_share"] == pytest.approx(30 / 80)
    assert "holds it for at most 62.5 % of its time" in found["reason"]


def test_a_lower_bound_is_reported_even_if_it_is_less_by_microseconds(monkeypatch):
    """It held the GIL for 0.4 ms at a time. Its run delay of 0.3 ms may have fallen into one of these holds."""
    clock = iter(range(0, 10**12, 3 * MS // 10))
    set_run_delay_of_the_caller(monkeypatch, clock)
    row = Row(held=1 * MS, longest=4 * MS // 10, voluntary=3)
    found = verdict(FakeMeter(row, elapsed=100 * MS), call, patience=0)
    assert found["longest_hold_s"] == pytest.approx(0.0004)
    assert found["lower_bounds"]["longest_hold_s"] == pytest.approx(0.0001)


def test_a_run_delay_that_fell_into_the_holds_for_certain_is_no_part_of_the_held_share():
    """It held the GIL for 80 ms and had no core for 60: the call lasted 80 or 100 ms."""
    part = _samples.Part(Row(held=80 * MS), run_delay=0.06, certain_delay=0.06)
    assert part.held_less_delay(0.08, upper=True) == pytest.approx(0.02)
    assert part.held_less_delay(0.1, upper=True) == pytest.approx(0.04)
    assert part.held_less_delay(0.1, upper=False) == pytest.approx(0.02)


def test_a_hold_that_may_be_nothing_but_run_delay_is_not_one_piece():
    row = Row(held=20 * MS)
    sample = _samples.Sample(0.02, [_samples.Part(row, 0.03, 0.0)], 0.0, 0, (0.0, 0.02), 1, [None, None])
    assert not sample.is_in_one_piece()


def test_a_verdict_that_other_processes_prevent_is_marked(monkeypatch):
    clock = iter(range(0, 10**12, 19 * MS))
    set_run_delay_of_the_caller(monkeypatch, clock)
    found = verdict(FakeMeter(Row(held=4 * MS, voluntary=1)), call, patience=0.2)
    assert found["verdict"] == "inconclusive" and found["disturbed"], found
    assert "95.0 % of the calls' time" in found["reason"], found
    assert not verdict(FakeMeter(Row(held=1 * MS, voluntary=1)), int)["disturbed"], (
        "too short is not disturbed"
    )


def test_ctrl_c_while_a_thread_of_a_check_begins_ends_the_thread(monkeypatch):
    class Slow(_background.BackgroundThread):
        def begin(self):
            time.sleep(0.1)

        def work(self):
            time.sleep(0.001)

    sleep, calls = _background.sleep, []

    def interrupt_the_first_call(seconds):
        calls.append(seconds)
        if len(calls) == 1:
            raise KeyboardInterrupt
        sleep(seconds)

    monkeypatch.setattr(_background, "sleep", interrupt_the_first_call)
    thread = Slow()
    with pytest.raises(KeyboardInterrupt), thread:
        pass
    assert thread._is_over and not thread._is_running


@pytest.mark.parametrize(
    ("own", "theirs", "unread", "least"),
    [
        (0, 0, 0, 0.03),
        (0, 20 * MS, 0, 0.01),
        (20 * MS, 0, 0, 0.01),
        (0, 0, 20 * MS, 0.01),
        (0, 35 * MS, 0, 0),
    ],
)
def test_the_bounds_of_a_stall_differ_by_the_run_delays(own, theirs, unread, least):
    prober = _background.Prober(None, set(), 0)
    prober.round_ended(30 * MS, 30 * MS, own, theirs, unread, 1)
    assert (prober.stall, prober.least_stall) == (pytest.approx(0.03), pytest.approx(least))


def test_several_holds_in_a_round_are_not_one_long_hold():
    prober = _background.Prober(None, set(), 0)
    prober.round_ended(5 * MS, 5 * MS, 0, 0, 0, 1)
    # The prober had no core when the GIL was free for a moment.
    prober.round_ended(12 * MS, 12 * MS, 1 * MS, 0, 0, 2)
    assert (prober.hold, prober.least_hold) == (pytest.approx(0.012), pytest.approx(0.005))


def test_a_wait_over_several_calls_is_no_lower_bound_of_the_stall_by_one(monkeypatch):
    # Calls of 10 ms, of which 4 ms are run delay, beside a prober that waited for 9.5 ms without a run delay.
    set_run_delay_of_the_caller(monkeypatch, iter(range(0, 10**12, 4 * MS)))

    class Waited(_background.Prober):
        def __init__(self, *arguments):
            _background.Prober.__init__(self, *arguments)
            self.stall = self.least_stall = 0.0095

        def round_ended(self, *_):
            pass

    monkeypatch.setattr(_verdict, "Prober", Waited)
    meter = FakeMeter(Row(held=10 * MS, longest=10 * MS), elapsed=10 * MS, requested=1)
    found = verdict(meter, lambda: time.sleep(0.01), patience=0.1)
    assert found["longest_stall_s"] == pytest.approx(0.0095), found
    assert found["lower_bounds"]["longest_stall_s"] == pytest.approx(0.006), found


def test_a_stall_that_is_longer_than_all_holds_of_a_call_is_an_upper_bound(monkeypatch):
    """The prober waited for 4.5 ms without a run delay, but a call held the GIL for 1 ms in all."""

    class Waited(_background.Prober):
        def __init__(self, *arguments):
            _background.Prober.__init__(self, *arguments)
            self.stall = self.least_stall = 0.0045

        def round_ended(self, *_):
            pass

    monkeypatch.setattr(_verdict, "Prober", Waited)
    found = verdict(FakeMeter(Row(held=1 * MS)), lambda: time.sleep(0.01))
    assert found["longest_stall_s"] == pytest.approx(0.0045), found
    assert found["lower_bounds"]["longest_stall_s"] == pytest.approx(0.001), found


def test_a_call_that_is_cut_into_long_holds_holds():
    row = Row(held=100 * MS, longest=40 * MS)
    assert verdict(FakeMeter(row, elapsed=100 * MS, requested=1), call)["verdict"] == "holds"


WAITED_BETWEEN = _background.Contender.waited_between


@pytest.mark.parametrize(
    ("rounds", "waited"),
    [
        ([], 0),
        # In a round of 12 s, the call ran for 10 s and the contender waited for 11 s, so for at least 9 s of the call.
        ([(9, 21, 11)], 9),
        # The contender had no CPU for most of its wait.
        ([(9, 21, 1)], 0),
        # Only the longest single wait counts: each of two requests may have been fulfilled at once.
        ([(10, 14, 3), (14, 20, 5)], 5),
        # The waits were before and after the call.
        ([(0, 9, 9), (21, 30, 9)], 0),
        # Most of the wait was before the call, so the contender did not acquire the GIL although it was free.
        ([(0, 11, 11)], 0),
        ([(5, 16, 11)], 6),
    ],
)
def test_only_a_wait_during_the_call_proves_that_the_call_holds(rounds, waited):
    contender = _background.Contender(None, None, 0, 0)
    contender._rounds = rounds
    assert WAITED_BETWEEN(contender, 10, 20) == waited


def test_a_contender_without_a_core_proves_nothing(monkeypatch):
    """The contender waited for the GIL all the time, but had no CPU for as long."""
    caller = threading.get_ident()
    monkeypatch.setattr(_background.Contender, "waited_between", WAITED_BETWEEN)
    monkeypatch.setattr(
        _background.RunDelays,
        "read",
        lambda *_: 0 if threading.get_ident() == caller else time.monotonic_ns(),
    )
    found = verdict(FakeMeter(Row(held=20 * MS), requested=1), call)
    assert found["verdict"] == "inconclusive", found


def test_a_wait_for_a_holder_without_a_core_proves_nothing(monkeypatch):
    """The call held the GIL in one piece, and the contender waited all the time; but the call had no core for nearly
    half of it, and can't drop the GIL then."""
    set_run_delay_of_the_caller(monkeypatch, iter(range(0, 10**12, 9 * MS)))
    found = verdict(FakeMeter(Row(held=20 * MS), requested=1), call, patience=0.2)
    assert found["verdict"] == "inconclusive", found


def test_a_call_that_is_shorter_than_its_first_ones_is_not_taken_for_one_that_holds():
    """A Python loop whose first call imports a module, for example: the switch interval is that of the later calls."""
    first = [0.12]

    def loop():
        if first:
            time.sleep(first.pop())
        return call()

    intervals = []
    meter = FakeMeter(lambda: intervals.append(sys.getswitchinterval()) or Row(held=20 * MS), requested=1)
    verdict(meter, loop)
    assert 0.00002 <= min(intervals) < 0.0005, min(intervals)


def test_a_wait_of_less_than_two_switch_intervals_proves_nothing():
    contender = _background.Contender(None, None, 0, 0.001)
    parts = [_samples.Part(Row(held=4 * MS), 0.0, 0.0)]
    sample = _samples.Sample(0.004, parts, 0.0, 0, (0.0, 0.004), 1, [None, None])
    for waited, proves in ((0.0019, False), (0.0021, True)):
        contender.waited_between = lambda *_, waited=waited: waited
        assert sample.proves_holding(contender) == proves


def test_the_run_delays_of_all_threads_that_work_for_a_call_make_a_wait_longer():
    contender = _background.Contender(None, None, 0, 0.0001)
    contender.waited_between = lambda *_: 0.02
    parts = [_samples.Part(Row(held=40 * MS, longest=27 * MS), 0.005, 0.0)] + 3 * [
        _samples.Part(Row(held=5 * MS), 0.005, 0.0)
    ]
    sample = _samples.Sample(0.06, parts, 0.0, 0, (0.0, 0.06), 1, [None, None])
    assert not sample.proves_holding(contender)


def test_a_call_with_a_long_hold_is_not_cut_up_by_another_thread_of_it():
    contender = _background.Contender(None, None, 0, 0.001)
    contender.cpu_pieces_between = lambda *_: (0.001, 0.081)
    parts = [_samples.Part(Row(held=41 * MS, longest=1 * MS), 0, 0), _samples.Part(Row(held=40 * MS), 0, 0)]
    sample = _samples.Sample(0.081, parts, 0.0, 0, (0.0, 0.081), 1, [(0, 0), (0.081, 0.081)])
    assert not sample.is_cut_up(contender)


class OwnHold:
    """A hold of the contender, in milliseconds: from when to when, what CPU time the holder had at both, and for how
    long it had held the GIL in all."""

    def __init__(self, began, ended, before, after, held):
        self.began, self.ended = began, ended
        self.before, self.after = {1: before}, {} if after is None else {1: after}
        self.held = {} if held is None else {1: held * MS}


@pytest.mark.parametrize(
    ("holds", "longest", "total"),
    [
        ([], 8, 8),
        # Pieces of 2, 3 and 3 ms; nothing during the contender's holds.
        ([OwnHold(2, 2.5, 2, 2, 2), OwnHold(6, 6.5, 5, 5, 5)], 3, 8),
        # The contender lost the GIL before the end that it recorded: what the holder did then may be one hold.
        ([OwnHold(2, 7, 2, 7, 2)], 5, 3),
        # Between two of them, the holder used 4 ms of CPU time, but held the GIL for 1 ms: otherwise it waited.
        ([OwnHold(1, 2, 1, 1, 1), OwnHold(6, 7, 5, 5, 2)], 3, 5),
        # One before the call does not count; one that has begun before it does from then on; and one that has not ended
        # belongs to the contender until the call ends.
        (
            [OwnHold(-5, -4, -3, -3, 0), OwnHold(-1, 1, -1, 1, 0), OwnHold(7, float("inf"), 6, None, None)],
            5,
            5,
        ),
    ],
)
def test_the_holds_of_the_contender_divide_the_cpu_time_of_a_call(holds, longest, total):
    """A call from 0 to 10 ms, which used 8 ms of CPU time."""
    contender = _background.Contender(None, None, 0, 0)
    contender._holds = holds
    scaled = [(0, 0.0), (10, 0.008)]
    for hold in holds:
        hold.before, hold.after = (
            {tid: time / 1e3 for tid, time in times.items()} for times in (hold.before, hold.after)
        )
    found = contender.cpu_pieces_between(*scaled, 1)
    assert found == (pytest.approx(longest / 1e3), pytest.approx(total / 1e3))


@pytest.mark.parametrize(("cpu_s", "word"), [(0.018, "yields"), (0.001, "inconclusive")])
def test_pieces_of_cpu_time_prove_that_the_call_yields_however_large_its_run_delay(monkeypatch, cpu_s, word):
    """The call held the GIL for 40 ms, up to 24 in one hold, and had no core for 20. In the second case it slept for 19
    of the rest, perhaps in one piece."""
    set_run_delay_of_the_caller(monkeypatch, iter(range(0, 10**12, 20 * MS)))
    cpu_times = itertools.count(0, cpu_s)
    monkeypatch.setattr(_verdict, "cpu_time", lambda tid: next(cpu_times))
    monkeypatch.setattr(
        _background.Contender, "cpu_pieces_between", lambda self, start, end, tid: (0.1 * cpu_s, cpu_s)
    )
    meter = FakeMeter(Row(held=40 * MS, longest=24 * MS), elapsed=40 * MS, requested=1)
    found = verdict(meter, call, patience=0.2)
    assert found["verdict"] == word, found


@pytest.mark.parametrize(("stolen_from", "word"), [(0, "inconclusive"), (2, "partly")])
def test_time_that_the_host_has_stolen_may_have_been_part_of_a_hold(monkeypatch, stolen_from, word):
    """The host takes 20 ms from each call, or from all but every other call."""
    readings = itertools.count()
    stolen = itertools.accumulate(20 * MS * (number % 4 >= stolen_from) * (number % 2) for number in readings)
    monkeypatch.setattr(_background.RunDelays, "stolen", lambda *_: next(stolen))
    found = verdict(FakeMeter(Row(held=17 * MS, longest=16 * MS, voluntary=1)), call, patience=0.3)
    assert found["verdict"] == word, found


def test_after_ctrl_c_at_any_moment_everything_is_restored():
    """The autouse fixture checks the switch interval, the garbage collector and the threads."""

    def interrupt(*_):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    meter, interrupts = FakeMeter(Row(held=20 * MS, longest=19 * MS), requested=1), 0
    try:
        for step in range(60):
            try:
                signal.setitimer(signal.ITIMER_REAL, 0.001 + 0.0005 * step)
                verdict(meter, call)
            except KeyboardInterrupt:
                interrupts += 1
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
            assert meter.starts in (0, -1), "not started, or interrupted before the start was counted"
            meter.starts = 0
            assert state() == STATE
        assert interrupts > 10
    finally:
        signal.signal(signal.SIGALRM, before)
    assert verdict(meter, call)["verdict"] == "holds", "the next check must work"


def test_a_call_that_is_too_short_is_inconclusive():
    found = verdict(FakeMeter(Row(held=20 * MS)), int)
    assert found["verdict"] == "inconclusive" and "under 2 us" in found["reason"] and found["calls"] == 3, (
        found
    )


def short_call():
    return sum(range(2000))


@pytest.mark.parametrize(
    ("function", "row", "word", "reason"),
    [
        (sum, Row(held=20 * MS), "holds", None),
        (sum, Row(held=20 * MS, longest=1 * MS), "yields", None),
        (sum, Row(held=1 * MS, voluntary=50), "releases", None),
        (sum, Row(held=10 * MS, voluntary=50), "partly", "for 50.0 % of its time"),
        # Others may acquire the GIL during a call or between two calls: the figures would be the same.
        (sum, Row(held=20 * MS, voluntary=50), "inconclusive", "calls that release the GIL for a moment"),
        (
            short_call,
            Row(held=20 * MS),
            "inconclusive",
            "its function is native and is passed with its arguments, as in check(f, data)",
        ),
        (short_call, Row(held=1 * MS, voluntary=50), "releases", None),
    ],
)
def test_a_short_call_is_repeated_in_native_code(function, row, word, reason):
    found = verdict(FakeMeter(row, requested=1), function, (range(2000),) if function is sum else ())
    assert (found["verdict"], found["reason"] and reason in found["reason"]) == (word, reason and True), found
    assert found["calls"] > 50, found


def test_a_profiler_stays_on_and_makes_a_short_call_inconclusive():
    def profiler(*_):
        pass

    sys.setprofile(profiler)
    try:
        found = verdict(FakeMeter(Row(held=20 * MS), requested=1), sum, (range(2000),))
        assert sys.getprofile() is profiler
    finally:
        sys.setprofile(None)
    assert found["verdict"] == "inconclusive", found


def test_if_the_meter_refuses_its_reason_is_reported_and_nothing_is_called():
    found = verdict(FakeMeter(None, refusal="no such thing here"), pytest.fail)
    assert (found["verdict"], found["reason"], found["calls"]) == ("inconclusive", "no such thing here", 0)


class Boom(Exception):
    pass


@pytest.mark.parametrize("which", [1, 2, 5, 40, 60])
@pytest.mark.parametrize("error", [Boom, KeyboardInterrupt, SystemExit])
def test_an_exception_of_the_function_propagates_and_everything_is_restored(which, error):
    calls = []

    def fails():
        calls.append(call())
        if len(calls) == which:
            raise error

    meter = FakeMeter(Row(held=20 * MS), requested=1)
    with pytest.raises(error) as raised:
        while True:
            verdict(meter, fails)
    assert raised.traceback[-1].name == "fails"
    assert (meter.starts, meter.windows) == (0, 0)
    assert verdict(meter, call)["verdict"] == "holds", "the next check must work"


def test_garbage_collection_stays_off_if_it_was_off():
    gc.disable()
    try:
        verdict(FakeMeter(Row(held=20 * MS), requested=1), call)
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
        verdict(FakeMeter(Row(held=20 * MS)), function)
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
def test_functions_that_a_call_does_not_run_are_refused_with_the_reason(function, word):
    assert word in refused(function)


def test_arguments_are_passed_on():
    seen = []

    def function(*args, **kwargs):
        call()
        seen.append((args, kwargs))

    verdict(FakeMeter(Row(held=20 * MS), requested=1), function, (1, 2), {"x": 3})
    assert set(map(repr, seen)) == {"((1, 2), {'x': 3})"}


def test_a_check_inside_a_checked_function_is_refused_at_once():
    meter = FakeMeter(Row(held=20 * MS))
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
        assert verdict(FakeMeter(Row(held=1 * MS, voluntary=1)), function)["verdict"] == "releases"

    threads = [threading.Thread(target=check) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(most) == 1
