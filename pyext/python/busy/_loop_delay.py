"""`busy.loop_delay`: for how long the callbacks of an asyncio event loop wait until they run, and why.

The loop alternates between waiting for events (`select`) and running what is ready. While it does not wait for events,
whatever becomes ready has to wait. That time is measured from the events that end one wait to the begin of the next
one, around the method `select` of the loop's selector, and split by the figures of the loop's own thread: its waits for
the GIL are exact, and its run delay is the kernel's.
"""

import asyncio
import collections
import os
import threading
import time
from typing import Any, NamedTuple

from busy import _bounds, _units
from busy._background import Undo
from busy._busy import own_times
from busy._gil import GilNotMeterable
from busy._stalls import Reporter, Stall

#: The number of slow turns that are kept, the latest ones.
_MOST = 100


class SlowTurn(NamedTuple):
    """A turn of the loop during which a ready callback may have had to wait for the threshold or longer. Times are in
    seconds; `callbacks_s`, `gil_s` and `no_cpu_s` add up to `delay_s`."""

    #: When it began, on the clock of time.monotonic().
    at_s: float
    #: For how long something that became ready at its begin had to wait until the loop looked for it.
    delay_s: float
    #: The time for which the loop ran callbacks, or waited in a blocking call of one.
    callbacks_s: float
    #: The time for which the loop's thread waited for the GIL.
    gil_s: float
    #: The time for which the loop's thread was runnable without a CPU. None where the kernel does not report it; it
    #: is part of `callbacks_s` then.
    no_cpu_s: float | None
    #: The longest hold of the GIL by another thread in that time, with its stack. None if there was none of a quarter
    #: of the threshold or longer, as beside threads that run Python code, which drop the GIL on request.
    holder: Stall | None = None

    @property
    def cause(self) -> str:
        """What took most of the time: "callbacks", "gil" or "no-cpu"."""
        causes = {"callbacks": self.callbacks_s, "gil": self.gil_s, "no-cpu": self.no_cpu_s or 0.0}
        return max(causes, key=causes.__getitem__)

    def __str__(self) -> str:
        parts = [
            f"callbacks ran for {_units.duration(self.callbacks_s)}",
            f"the thread waited for the GIL for {_units.duration(self.gil_s)}",
        ]
        if self.no_cpu_s is not None:
            parts.append(f"it had no CPU for {_units.duration(self.no_cpu_s)}")
        if self.holder:
            name = self.holder.name or f"thread {self.holder.tid}"
            where = f": {' < '.join(self.holder.stack[:6])}" if self.holder.stack else ""
            parts.append(f"{name} held the GIL for {_units.duration(self.holder.held_s)}{where}")
        return f"loop delayed for {_units.duration(self.delay_s)} ({self.cause}): {'; '.join(parts)}"


class loop_delay:  # noqa: N801 - lower case, since it is used as a function, like busy.watch
    """Measures for how long ready callbacks of the running asyncio event loop wait until they run, and why.

    >>> with busy.loop_delay("100ms") as d:  # inside a coroutine
    ...     await serve()
    >>> d.slow  # the turns of the loop of 100 ms or longer, each with its cause

    The loop runs in turns: it waits for events, then runs what is ready. A callback that becomes ready in the meantime
    waits until the end of the turn, at most. The attributes may be read at any time:

    - `turns`: the number of turns. The first one begins, and the last one ends, with the block;
    - `delay_s`: the time of all turns. `callbacks_s`, `gil_s` and `no_cpu_s` are its parts: the loop ran callbacks; its
      thread waited for the GIL; its thread was runnable without a CPU (None where the kernel does not report that);
    - `longest_s`: the longest turn;
    - `slow`: the latest turns of the threshold or longer, at most 100, as SlowTurn; with the hold of the GIL, and its
      stack, that kept the loop from running.

    `threshold` is a time such as "100ms", or a number of seconds; at least 4 ms and less than 1e9 seconds. A turn costs
    some microseconds more.

    Raises ValueError for another threshold; TypeError if the loop has no selector, as uvloop's has none; RuntimeError
    if no loop is running, or if this object is open already; GilNotMeterable, a RuntimeError, if the GIL cannot be
    metered.
    """

    def __init__(self, threshold: str | float = "100ms") -> None:
        self._threshold_s = _bounds.parse_threshold(threshold, "4ms")
        self.turns = 0
        self.longest_s = 0.0
        self._delay_ns = self._gil_ns = self._no_cpu_ns = 0
        # Slow turns, each with stalls that overlap with it: the longest one known at its end, and those known later.
        self._slow: collections.deque[tuple[SlowTurn, list[Stall]]] = collections.deque(maxlen=_MOST)
        # The longest stalls that may overlap with the running turn, which began at this time or later.
        self._stalls: list[Stall] = []
        self._turn_s = 0.0
        self._hook: _Hook | None = None
        self._has_run_delay = True
        #: The native id of the loop's thread.
        self._tid = 0
        # The turn in which the block began, until it ends.
        self._first_turn: _Turn | None = None

    def __enter__(self) -> "loop_delay":
        if self._hook:
            raise RuntimeError("this loop_delay is already open: create another one with busy.loop_delay()")
        loop = asyncio.get_running_loop()
        selector = getattr(loop, "_selector", None)
        if not hasattr(selector, "select"):
            raise TypeError(
                f"expected an event loop of asyncio with a selector, found {type(loop).__module__}."
                f"{type(loop).__name__}: run the program with asyncio's own loop"
            )
        self._tid = threading.get_native_id()
        self._reporter = Reporter(self._threshold_s / 4, self._take)
        try:
            self._hook = _Hook.of(selector)
            self._turn_s = time.monotonic()
            self._hook.add(self)
        except BaseException:
            # As by Ctrl-C: a block that was not entered is not left.
            self._end()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._hook:
            try:
                self._hook.end_turn_of(self)
            finally:
                self._end()

    def _end(self) -> None:
        hook = self._hook
        with Undo() as undo:
            undo.add(self._reporter.stop)
            if hook:
                undo.add(lambda: hook.remove(self))
        # The last step, so that a call after one that Ctrl-C has interrupted does the rest.
        self._hook = None

    def _take(self, stall: Stall | None, _: int) -> None:
        """Keeps a stall. Called by the thread of the reporter, without a lock, which a forked child could inherit: the
        stall is kept before the slow turns are read, and _turned() proceeds in the reverse order."""
        if not stall or stall.tid == self._tid:
            return
        kept = [one for one in self._stalls if one.at_s + one.held_s > self._turn_s]
        kept.append(stall)
        if len(kept) > _MOST:
            kept.remove(min(kept, key=lambda one: one.held_s))
        self._stalls = kept
        for turn, stalls in tuple(self._slow):
            if _overlap_s(turn, stall) > 0:
                stalls.append(stall)

    def _turned(self, at_ns: int, delay_ns: int, gil_ns: int, no_cpu_ns: int | None) -> None:
        """A turn has ended."""
        self.turns += 1
        self._delay_ns += delay_ns
        self._gil_ns += gil_ns
        self._no_cpu_ns += no_cpu_ns or 0
        delay_s = delay_ns / 1e9
        self.longest_s = max(self.longest_s, delay_s)
        self._has_run_delay = no_cpu_ns is not None
        if delay_s >= self._threshold_s:
            turn = SlowTurn(
                at_s=at_ns / 1e9,
                delay_s=delay_s,
                callbacks_s=(delay_ns - gil_ns - (no_cpu_ns or 0)) / 1e9,
                gil_s=gil_ns / 1e9,
                no_cpu_s=None if no_cpu_ns is None else no_cpu_ns / 1e9,
            )
            stalls: list[Stall] = []
            self._slow.append((turn, stalls))
            holder = _holder(turn, self._stalls)
            if holder:
                stalls.append(holder)
        self._turn_s = (at_ns + delay_ns) / 1e9

    @property
    def delay_s(self) -> float:
        """The time of all turns."""
        return self._delay_ns / 1e9

    @property
    def gil_s(self) -> float:
        """The part of `delay_s` for which the loop's thread waited for the GIL."""
        return self._gil_ns / 1e9

    @property
    def no_cpu_s(self) -> float | None:
        """The part of `delay_s` for which it was runnable without a CPU."""
        return self._no_cpu_ns / 1e9 if self._has_run_delay else None

    @property
    def callbacks_s(self) -> float:
        """The part of `delay_s` for which it ran callbacks."""
        return (self._delay_ns - self._gil_ns - self._no_cpu_ns) / 1e9

    @property
    def slow(self) -> list[SlowTurn]:
        """The latest turns of the threshold or longer."""
        return [turn._replace(holder=_holder(turn, stalls)) for turn, stalls in tuple(self._slow)]

    def __repr__(self) -> str:
        return (
            f"<busy.loop_delay: {self.turns} turns, {_units.duration(self.delay_s)} in all, "
            f"longest {_units.duration(self.longest_s)}, {len(self._slow)} slow>"
        )


loop_delay.__module__ = SlowTurn.__module__ = "busy"


def _holder(turn: SlowTurn, stalls: list[Stall]) -> Stall | None:
    """Returns the stall that overlaps most with the turn."""
    longest = max(stalls, key=lambda stall: _overlap_s(turn, stall), default=None)
    return longest if longest and _overlap_s(turn, longest) > 0 else None


def _overlap_s(turn: SlowTurn, stall: Stall) -> float:
    return min(turn.at_s + turn.delay_s, stall.at_s + stall.held_s) - max(turn.at_s, stall.at_s)


class _Turn(NamedTuple):
    """The start of a turn, in nanoseconds, and how long the thread had waited for the GIL, and had had no CPU, when the
    latest wait for events began."""

    ready_ns: int
    waited_ns: int
    run_delay_ns: int | None


class _Hook:
    """Replaces the method `select` of a selector, until the last observer is removed."""

    def __init__(self, selector: Any) -> None:
        self.observers: list[loop_delay] = []
        self._selector, self._select = selector, selector.select
        # What another tool may have put there.
        self._earlier = vars(selector).get("select")
        self._schedstat = _open_schedstat()
        # The running turn; None before the first wait for events.
        self._turn: _Turn | None = None
        selector.select = self.select

    @classmethod
    def of(cls, selector: Any) -> "_Hook":
        try:
            own_times()
        except RuntimeError as reason:
            raise GilNotMeterable(str(reason)) from None
        found = getattr(selector.select, "__self__", None)
        return found if isinstance(found, cls) else cls(selector)

    def add(self, observer: loop_delay) -> None:
        """Adds an observer, for which the running turn begins now."""
        self.observers.append(observer)
        figures = self._figures()
        observer._first_turn = _Turn(time.monotonic_ns(), *figures) if figures else None

    def remove(self, observer: loop_delay) -> None:
        """Removes an observer, if it is there. It may be called again if Ctrl-C has interrupted it."""
        if observer in self.observers:
            self.observers.remove(observer)
        if not self.observers:
            # Another tool's, which came later, stays, and calls this one.
            if vars(self._selector).get("select") == self.select:
                if self._earlier:
                    self._selector.select = self._earlier
                else:
                    del self._selector.select
            schedstat, self._schedstat = self._schedstat, None
            if schedstat is not None:
                os.close(schedstat)

    def select(self, timeout: float | None = None) -> Any:
        """Ends a turn, waits for events, and begins the next turn."""
        before_ns, before = time.monotonic_ns(), self._figures()
        for observer in self.observers:
            self._end_turn(observer, before_ns, before)
        # If the wait ends by an exception, no turn has begun.
        self._turn = None
        events = self._select(timeout)
        after_ns, after = time.monotonic_ns(), self._figures()
        if before and after:
            turn = _Turn(before_ns, *before)
            # The events were there before the thread waited for the GIL, and before it got a CPU.
            gil_ns, no_cpu_ns = _lost(turn, *after)
            self._turn = turn._replace(ready_ns=max(before_ns, after_ns - gil_ns - (no_cpu_ns or 0)))
        return events

    def end_turn_of(self, observer: loop_delay) -> None:
        """Ends the running turn of one observer now. No turn runs after the end of the loop, or in another thread."""
        now_ns = time.monotonic_ns()
        is_running = getattr(asyncio._get_running_loop(), "_selector", None) is self._selector
        if is_running and observer in self.observers:
            self._end_turn(observer, now_ns, self._figures())

    def _end_turn(self, observer: loop_delay, now_ns: int, figures: tuple[int, int | None] | None) -> None:
        turn, observer._first_turn = observer._first_turn or self._turn, None
        if turn and figures:
            gil_ns, no_cpu_ns = _lost(turn, *figures)
            delay_ns = now_ns - turn.ready_ns
            gil_ns = min(gil_ns, delay_ns)
            no_cpu_ns = None if no_cpu_ns is None else min(no_cpu_ns, delay_ns - gil_ns)
            observer._turned(turn.ready_ns, delay_ns, gil_ns, no_cpu_ns)

    def _figures(self) -> tuple[int, int | None] | None:
        """Returns how long the calling thread has waited for the GIL, and for how long it had no CPU. None if nobody
        observes, if another tool has made the figures incomplete, or if the loop goes on in another thread."""
        try:
            return (own_times()[1], self._run_delay()) if self.observers else None
        except (RuntimeError, OSError):
            return None

    def _run_delay(self) -> int | None:
        if self._schedstat is None:
            return None
        return int(os.pread(self._schedstat, 64, 0).split()[1])


def _lost(turn: _Turn, waited_ns: int, run_delay_ns: int | None) -> tuple[int, int | None]:
    """Returns how long the thread has waited for the GIL since the figures of `turn`, and how long it had no CPU while
    it did not wait for the GIL. A run delay may be part of a wait for the GIL; it counts only as far as it is longer.
    """
    # In a forked child, the time waited begins at the fork.
    gil_ns = max(0, waited_ns - turn.waited_ns)
    if run_delay_ns is None or turn.run_delay_ns is None:
        return gil_ns, None
    return gil_ns, max(0, run_delay_ns - turn.run_delay_ns - gil_ns)


def _open_schedstat() -> int | None:
    """Opens the file with the run delay of the calling thread (Documentation/scheduler/sched-stats.rst)."""
    try:
        return os.open(f"/proc/self/task/{threading.get_native_id()}/schedstat", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
