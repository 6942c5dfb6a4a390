"""busy.loop_delay: why the callbacks of an event loop had to wait."""

import asyncio
import os
import subprocess
import sys
import textwrap
import threading
import time

import busy
import pytest

if not getattr(sys, "_is_gil_enabled", lambda: True)():
    pytest.skip("there is no GIL to meter in this interpreter", allow_module_level=True)


def measured(coroutine, threshold="50ms", tries=5, wanted=lambda delay: delay.slow):
    """Returns the figures of a loop that runs a coroutine beside a ticker. On a loaded machine, it may take several
    tries."""

    async def tick():
        while True:
            await asyncio.sleep(0.005)

    async def main():
        with busy.loop_delay(threshold) as delay:
            ticker = asyncio.ensure_future(tick())
            await asyncio.sleep(0.02)
            await coroutine()
            await asyncio.sleep(0.1)
            ticker.cancel()
        return delay

    for _ in range(tries):
        delay = asyncio.run(main())
        if wanted(delay):
            break
    return delay


def slowest(delay):
    assert delay.slow, delay
    return max(delay.slow, key=lambda turn: turn.delay_s)


def test_a_callback_that_computes_is_named_as_the_cause():
    async def compute():
        end = time.thread_time() + 0.2
        while time.thread_time() < end:
            pass

    delay = measured(compute, wanted=lambda delay: delay.slow and slowest(delay).cause == "callbacks")
    turn = slowest(delay)
    assert turn.callbacks_s >= 0.15 and f"({turn.cause})" in str(turn), turn
    # On a loaded machine, the thread may lose its core for longer than it computes.
    assert turn.cause == "callbacks" or turn.no_cpu_s > turn.callbacks_s, turn


def test_a_callback_that_blocks_is_named_as_the_cause():
    async def block():
        time.sleep(0.2)

    delay = measured(block, wanted=lambda delay: delay.slow and slowest(delay).cause == "callbacks")
    turn = slowest(delay)
    assert turn.cause == "callbacks" and 0.15 < turn.callbacks_s <= turn.delay_s, turn
    assert turn.callbacks_s + turn.gil_s + (turn.no_cpu_s or 0) == pytest.approx(turn.delay_s)


def hold_the_gil():
    busy.with_lock(0.25)


def test_another_thread_that_holds_the_gil_is_named_with_its_stack():
    async def be_stalled():
        await asyncio.get_running_loop().run_in_executor(None, hold_the_gil)

    def is_found(delay):
        return any(
            turn.cause == "gil" and turn.holder and "hold_the_gil" in str(turn.holder) for turn in delay.slow
        )

    delay = measured(be_stalled, wanted=is_found)
    assert is_found(delay), [str(turn) for turn in delay.slow]
    turn = slowest(delay)
    assert 0.15 < turn.gil_s <= turn.delay_s, turn
    assert turn.holder.held_s >= 0.25 and turn.holder.name.startswith(("asyncio_", "ThreadPool")), turn
    assert "hold_the_gil" in str(turn)


@pytest.mark.skipif(
    not os.path.exists("/proc/thread-self/schedstat"), reason="the kernel reports no run delay"
)
def test_a_loop_without_a_cpu_is_named_so():
    """The loop's thread shares one core with a process that spins, and has the lowest priority of all."""
    code = """
        import asyncio, busy, os, subprocess, sys
        core = min(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {core})
        spinner = subprocess.Popen([sys.executable, "-c", "while True: pass"])
        async def main():
            with busy.loop_delay("20ms") as delay:
                os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
                for _ in range(100):
                    # More than the slice of the other process.
                    for _ in range(20):
                        sum(range(20000))
                    await asyncio.sleep(0)
                    if any(turn.cause == "no-cpu" for turn in delay.slow):
                        break
            return delay
        try:
            delay = asyncio.run(asyncio.wait_for(main(), 40))
        finally:
            spinner.kill()
            spinner.wait()
        assert any(turn.cause == "no-cpu" for turn in delay.slow), [str(turn) for turn in delay.slow]
    """
    run(code)


def run(code):
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr


def test_an_idle_loop_has_short_turns_and_their_parts_add_up():
    async def idle():
        await asyncio.sleep(0.2)

    delay = measured(idle, threshold="10s", tries=1)
    assert delay.turns > 10 and not delay.slow
    assert 0 < delay.longest_s <= delay.delay_s < 0.3
    assert delay.callbacks_s + delay.gil_s + (delay.no_cpu_s or 0) == pytest.approx(delay.delay_s)
    assert f"{delay.turns} turns" in repr(delay)


def test_several_nest_and_leave_nothing_behind():
    async def main():
        selector = asyncio.get_running_loop()._selector
        with busy.loop_delay() as outer:
            await asyncio.sleep(0.01)
            with busy.loop_delay() as inner:
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.01)
            assert "select" in vars(selector)
            with pytest.raises(RuntimeError, match="already open"):
                outer.__enter__()
        assert "select" not in vars(selector)
        return outer, inner

    outer, inner = asyncio.run(main())
    assert 0 < inner.turns < outer.turns
    assert not [thread for thread in threading.enumerate() if thread.name == "busy.stalls"]


@pytest.mark.parametrize("interrupted", ["select", "remove", "stop", "add"])
def test_after_ctrl_c_at_the_begin_or_the_end_of_the_block_nothing_is_left_behind(monkeypatch, interrupted):
    from busy import _loop_delay

    owner, name = {
        "select": (_loop_delay._Hook, "end_turn_of"),
        "remove": (_loop_delay._Hook, "remove"),
        "stop": (_loop_delay.Reporter, "stop"),
        "add": (_loop_delay._Hook, "add"),
    }[interrupted]
    function, calls = getattr(owner, name), []

    def interrupt_the_first_call(*arguments):
        calls.append(arguments)
        if len(calls) == 1:
            raise KeyboardInterrupt
        return function(*arguments)

    async def main():
        selector = asyncio.get_running_loop()._selector
        monkeypatch.setattr(owner, name, interrupt_the_first_call)
        delay = busy.loop_delay()
        with pytest.raises(KeyboardInterrupt):
            with delay:
                await asyncio.sleep(0.01)
        assert "select" not in vars(selector)
        assert not [thread for thread in threading.enumerate() if thread.name == "busy.stalls"]
        # It may be used again, and a second end does nothing.
        delay.__exit__()
        turns = delay.turns
        with delay:
            await asyncio.sleep(0.01)
        assert delay.turns > turns and "select" not in vars(selector)

    asyncio.run(main())
    assert calls


class Selector:
    """Of which each wait takes a while, and ends by an error or without an event."""

    errors = ()

    def select(self, timeout=None):
        time.sleep(0.2)
        if self.errors:
            raise self.errors.pop()
        return []


class Turns(list):
    _first_turn = None

    def _turned(self, at_ns, delay_ns, gil_ns, no_cpu_ns):
        self.append(delay_ns)


def hook_of(selector):
    from busy._loop_delay import _Hook

    busy.counters()
    hook, turns = _Hook.of(selector), Turns()
    hook.observers.append(turns)
    return hook, turns


def test_a_wait_that_ends_by_an_error_begins_no_turn():
    selector = Selector()
    hook, turns = hook_of(selector)
    selector.select()
    selector.errors = [KeyboardInterrupt()]
    with pytest.raises(KeyboardInterrupt):
        selector.select()
    time.sleep(0.2)
    selector.select()
    # The only turn is that before the error.
    assert len(turns) == 1 and turns[0] < 0.1e9, turns
    hook.remove(turns)
    assert "select" not in vars(selector)


def test_figures_that_are_refused_do_not_end_the_loop(monkeypatch):
    from busy import _loop_delay

    def refused():
        raise RuntimeError("another tool has redirected the calls")

    selector = Selector()
    hook, turns = hook_of(selector)
    monkeypatch.setattr(_loop_delay, "own_times", refused)
    assert (selector.select(), selector.select()) == ([], []) and not turns
    # Another tool's wrapper stays, and goes on calling this one.
    inner = selector.select
    selector.select = outer = lambda timeout=None: inner(timeout)
    hook.remove(turns)
    assert selector.select is outer and selector.select() == []


def test_the_turns_in_which_the_block_begins_and_ends_count():
    async def main():
        with busy.loop_delay("100ms") as last:
            await asyncio.sleep(0.02)
            time.sleep(0.2)
        with busy.loop_delay("100ms") as first:
            time.sleep(0.2)
            await asyncio.sleep(0.02)
        with busy.loop_delay("100ms") as only:
            time.sleep(0.2)
        return last, first, only

    for delay in asyncio.run(main()):
        turn = slowest(delay)
        assert turn.delay_s >= 0.2 and turn.cause == "callbacks", turn
        assert turn.callbacks_s + turn.gil_s + (turn.no_cpu_s or 0) == pytest.approx(turn.delay_s)


def test_the_time_before_the_block_is_not_part_of_its_first_turn():
    async def main():
        with busy.loop_delay("100ms") as outer:
            await asyncio.sleep(0.01)
            time.sleep(0.2)
            began_s = time.monotonic()
            with busy.loop_delay("100ms") as inner:
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.01)
        return outer, inner, began_s

    outer, inner, began_s = asyncio.run(main())
    assert slowest(outer).delay_s >= 0.2
    assert all(turn.at_s >= began_s for turn in inner.slow), inner.slow
    assert inner.longest_s < outer.longest_s and inner.turns > 0


def test_after_the_end_of_the_loop_no_turn_goes_on():
    delay = busy.loop_delay("100ms")

    async def main():
        delay.__enter__()
        await asyncio.sleep(0.01)

    asyncio.run(main())
    time.sleep(0.2)
    delay.__exit__()
    assert not delay.slow, delay.slow


def stall(at_s, held_s):
    return busy.Stall(0, 1, "holder", at_s, held_s, 1, [], [], None)


def test_a_slow_turn_keeps_its_holder():
    delay = busy.loop_delay("100ms")
    # Reported before the end of the turn, and after it.
    delay._take(stall(1.0, 0.2), 0)
    delay._turned(1_000_000_000, 250_000_000, 0, 0)
    delay._turned(2_000_000_000, 250_000_000, 0, 0)
    delay._take(stall(2.0, 0.2), 0)
    for number in range(200):
        delay._turned(3_000_000_000 + number * 100_000_000, 1_000_000, 0, 0)
        delay._take(stall(3 + number / 10, 0.03), 0)
    assert [turn.holder and turn.holder.at_s for turn in delay.slow] == [1.0, 2.0]
    assert len(delay._stalls) <= 2, "those of turns that have ended are dropped"


def test_of_many_stalls_in_one_turn_the_longest_is_kept():
    delay = busy.loop_delay("100ms")
    delay._take(stall(1.0, 0.2), 0)
    for number in range(300):
        delay._take(stall(2 + number / 10, 0.03), 0)
    assert len(delay._stalls) == 100
    delay._turned(1_000_000_000, 60_000_000_000, 0, 0)
    assert delay.slow[0].holder.held_s == 0.2


def test_it_needs_a_running_loop_of_asyncio():
    with pytest.raises(RuntimeError, match="no running event loop"):
        busy.loop_delay().__enter__()
    with pytest.raises(ValueError, match="threshold"):
        busy.loop_delay("1ms")
    with pytest.raises(ValueError, match="at least 4ms and less than 1e9 seconds, found '300000h'"):
        busy.loop_delay("300000h")
