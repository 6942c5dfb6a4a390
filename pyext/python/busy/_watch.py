"""`busy.watch`: which threads hold the GIL, and which ones wait for it, during a block or a call."""

import functools
import inspect
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple, TypeVar, overload

from busy import _ended_threads, _units
from busy._busy import cpu_clocks, own_run_delay, run_delays
from busy._gil import GilNotMeterable, GilRow, GilWindow, Histograms, ThreadRow

_Function = TypeVar("_Function", bound=Callable[..., Any])


@dataclass(frozen=True)
class WatchedThread:
    """One thread during a watch. Times are in seconds."""

    #: The name in the threading module; None for a thread that threading does not know.
    name: str | None
    #: The time that it held the GIL.
    held_s: float
    #: The time that it waited for the GIL.
    waited_s: float
    longest_hold_s: float
    longest_wait_s: float
    #: How many times it acquired the GIL.
    acquisitions: int
    #: CPU time, user and system. None for a thread that threading does not know and that ended during the watch, and if
    #: the process had no free file descriptor at the start or the end: the CPU clock could not be read.
    cpu_s: float | None
    #: Run delay: the time that it was runnable without a CPU. None for the same threads, and where the kernel does not
    #: report it.
    run_delay_s: float | None = None


#: The attributes of a watch whose block has ended.
_FIGURES = ("wall_s", "held_share", "threads", "others", "histograms")


class watch:  # noqa: N801 - lower case, since it is used as a function, like those of contextlib
    """Measures exactly which threads hold the GIL and which ones wait for it.

    >>> with busy.watch() as w:
    ...     work()
    >>> w.held_share, w.threads[threading.get_native_id()].longest_hold_s

    When the block has ended, normally or by an exception, `print(w)` shows its figures, `w.to_dict()` returns them as
    plain data, and `w` has these attributes:

    - `wall_s`: the duration of the block;
    - `held_share`: the share of `wall_s` during which any thread held the GIL, from 0 to 1;
    - `threads`: a dict of WatchedThread by native thread id. It contains each thread that held the GIL or waited for
      it during the block, even if the thread has ended, and each thread that the threading module knows. Ended threads
      are summed up under the id 0 if the system has given their id to another thread, or if more than 1024 threads
      have ended since;
    - `others`: a dict of the held share of the GILs of other interpreters, by interpreter id (CPython 3.12 and later).
      The share is None for a GIL that could not be metered because it was held, or idle, all the time. All other
      attributes describe the GIL of the interpreter in which the block began;
    - `histograms`: with `busy.watch(histograms=True)`, how many holds of the GIL, and how many waits for it, had which
      length, as a busy.Histograms. A hold or wait counts when it ends, with its whole length. While lengths are
      counted, to release and acquire the GIL takes some 10 ns longer.

    While the block runs, `w.read()` returns a watch of what has happened so far.

    As a decorator, `@busy.watch` watches each call of a function. A call of a coroutine function, or of an object whose
    `__call__` is one, is watched until the coroutine ends. The attribute `watch` of the function is the watch of the
    latest call that has ended. Any number of watches nest and overlap. In a forked child, the figures begin at the
    fork.

    A block raises GilNotMeterable, a RuntimeError, if the GIL cannot be metered: in a free-threaded interpreter, and on
    any platform but Linux on x86-64 with glibc. A decorated function runs unwatched then, and the figures of its
    attribute `watch` raise GilNotMeterable. So do the figures of a block during which another tool has redirected the
    calls that the meter redirects, since they may be incomplete. As a decorator, it raises TypeError for a generator
    function, a class, a staticmethod or a classmethod.
    """

    wall_s: float
    held_share: float
    threads: dict[int, WatchedThread]
    others: dict[int, float | None]
    histograms: Histograms

    @overload
    def __new__(cls, /, *, histograms: bool = False) -> "watch": ...
    @overload
    def __new__(cls, function: _Function, /) -> _Function: ...  # type: ignore[misc]
    def __new__(cls, /, *function: Any, histograms: bool = False) -> Any:
        this = super().__new__(cls)
        this._has_histograms = histograms
        return this(*function) if function else this

    # Set while the block runs.
    _open: "_Open | None" = None
    # If the GIL cannot be metered, the block of a decorated function runs unwatched, for this reason.
    _may_be_unwatched = False
    _reason: str | None = None
    _has_histograms = False

    def __enter__(self) -> "watch":
        if self._open:
            raise RuntimeError("this watch is already open: create another one with busy.watch()")
        # If it is used again.
        self._reason = None
        for name in _FIGURES:
            self.__dict__.pop(name, None)
        clocks = cpu_clocks()
        # The calling thread has a clock, so without any the folder of the threads could not be opened.
        before = _Used(clocks, run_delays(), bool(clocks))
        try:
            window = GilWindow(self._has_histograms)
        except GilNotMeterable as reason:
            if not self._may_be_unwatched:
                raise
            self._reason = str(reason)
            return self
        recorder = _ended_threads.Recorder(before.cpu_ns)
        self._open = _Open(window, before, recorder, self._has_histograms)
        # Read again, so that the cost of opening the watch does not count.
        before.read_own_run_delay()
        before.read_own_cpu()
        return self

    def __exit__(self, *_: object) -> None:
        own = _Used({}, {})
        own.read_own_cpu()
        own.read_own_run_delay()
        if not self._open:
            if self._reason:
                return
            raise RuntimeError("this watch is not open")
        opened, self._open = self._open, None
        try:
            figures = opened.figures(own)
        except GilNotMeterable as reason:
            # Another tool has redirected the same calls meanwhile: the figures are refused, and the block has run.
            self._reason = str(reason)
            return
        finally:
            opened.window.close()
            opened.recorder.stop()
        # One call sets all figures, so that Ctrl-C leaves either all of them or none.
        self.__dict__.update(figures)

    def read(self) -> "watch":
        """Returns a watch with the figures of what has happened since the block began. The block goes on. Any thread
        may call this. Raises RuntimeError if the block is not running."""
        own = _Used({}, {})
        own.read_own_cpu()
        own.read_own_run_delay()
        if self._reason:
            raise GilNotMeterable(self._reason)
        opened = self._open
        figures: dict[str, Any] | None = None
        if opened:
            try:
                figures = opened.figures(own)
            except (GilNotMeterable, ValueError):
                # The window of a block that has ended meanwhile is closed.
                if self._open is opened:
                    raise
        # Its number may belong to another window by now.
        if figures is None or self._open is not opened:
            raise RuntimeError("this watch is not open: call read() while the block runs")
        so_far = watch(histograms=self._has_histograms)
        so_far.__dict__.update(figures)
        return so_far

    def to_dict(self) -> dict[str, Any]:
        """Returns the figures as a dict that json can serialize. `threads` is a list, by falling `held_s`."""
        return {
            "wall_s": self.wall_s,
            "held_share": self.held_share,
            "threads": [{"tid": tid, **asdict(one)} for tid, one in self._by_held()],
            "others": [
                {"interpreter": interpreter, "held_share": share}
                for interpreter, share in self.others.items()
            ],
            **({"histograms": self.histograms.to_dict()} if self._has_histograms else {}),
        }

    def __call__(self, function: _Function) -> _Function:
        own = _run_by(function)
        if any(inspect.isgeneratorfunction(one) or inspect.isasyncgenfunction(one) for one in own):
            raise TypeError(
                "cannot watch a generator function, since a generator runs after the call has returned: "
                "put `with busy.watch()` around the code that uses the generator"
            )
        if isinstance(function, (staticmethod, classmethod)):
            raise TypeError(
                f"expected a function to watch, found {function!r}: put @{type(function).__name__} above @busy.watch"
            )
        if not callable(function) or inspect.isclass(function):
            raise TypeError(f"expected a function to watch, found {function!r}")

        def publish(this: watch) -> None:
            # If Ctrl-C prevented the end of the block, the end of the object ends it.
            if not this._open:
                wrapper.watch = this  # type: ignore[attr-defined]

        async def watched_coroutine(*args: Any, **kwargs: Any) -> Any:
            this = watch(histograms=self._has_histograms)
            this._may_be_unwatched = True
            try:
                with this:
                    return await function(*args, **kwargs)
            finally:
                publish(this)

        def watched(*args: Any, **kwargs: Any) -> Any:
            this = watch(histograms=self._has_histograms)
            this._may_be_unwatched = True
            try:
                with this:
                    return function(*args, **kwargs)
            finally:
                publish(this)

        watches = watched_coroutine if any(map(inspect.iscoroutinefunction, own)) else watched
        wrapper = functools.wraps(function)(watches)
        wrapper.watch = None  # type: ignore[attr-defined]
        return wrapper  # type: ignore[return-value]

    def __getattr__(self, name: str) -> Any:
        if name == "histograms" and not self._has_histograms:
            raise AttributeError("this watch has no histograms: create it by busy.watch(histograms=True)")
        if name in _FIGURES:
            if self._reason:
                raise GilNotMeterable(self._reason)
            raise AttributeError(
                f"{name} is not available until the block has ended: before, read() returns the figures so far"
            )
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __repr__(self) -> str:
        if "wall_s" not in self.__dict__:
            if self._reason:
                return f"<busy.watch, not watched: {self._reason}>"
            return f"<busy.watch, {'open' if self._open else 'not started'}>"
        shares = [
            f"{_label(tid, one)} {_units.percent(one.held_s / self.wall_s)}" for tid, one in self._by_held()
        ]
        held = f"{_units.duration(self.wall_s)}, GIL held {_units.percent(self.held_share)}"
        return f"<busy.watch: {held}: {', '.join(shares)}>"

    def __str__(self) -> str:
        if "wall_s" not in self.__dict__:
            return repr(self)
        lines = [f"the GIL was held for {_units.percent(self.held_share)} of {_units.duration(self.wall_s)}"]
        for tid, one in self._by_held():
            cpu = "CPU unknown" if one.cpu_s is None else f"CPU {_units.duration(one.cpu_s)}"
            lines.append(
                f"  {_label(tid, one)}: "
                f"held {_units.duration(one.held_s)} (longest {_units.duration(one.longest_hold_s)}), "
                f"waited {_units.duration(one.waited_s)} (longest {_units.duration(one.longest_wait_s)}), "
                f"acquired {one.acquisitions} time{'' if one.acquisitions == 1 else 's'}, {cpu}"
                + ("" if one.run_delay_s is None else f", run delay {_units.duration(one.run_delay_s)}")
            )
        stall = self._longest_stall()
        if stall:
            waiter, holder, at_least_s = stall
            lines.append(
                f"  longest stall: {_label(waiter, self.threads[waiter])} waited for "
                f"{_units.duration(self.threads[waiter].longest_wait_s)}, at least {_units.duration(at_least_s)} "
                f"of it while {_label(holder, self.threads[holder])} held the GIL"
            )
        for interpreter, share in self.others.items():
            state = "could not be metered" if share is None else f"was held for {_units.percent(share)}"
            lines.append(f"  the GIL of interpreter {interpreter} {state}")
        return "\n".join(lines)

    def _by_held(self) -> list[tuple[int, WatchedThread]]:
        return sorted(self.threads.items(), key=lambda item: -item[1].held_s)

    def _longest_stall(self) -> tuple[int, int, float] | None:
        """Returns the thread with the longest wait, the thread that held the GIL for the most of this wait, and a lower
        bound of how long it did. Returns None if one thread can't be blamed for half of the wait, or if the wait was
        no longer than two switch intervals, as it is behind Python code.

        During the wait, the GIL was held by the one thread, by a third one, or by none. It was held by none only while
        the waiter had no core, but for the moment of the hand-over.
        """
        threads = [item for item in self._by_held() if not _is_sum(*item)]
        if len(threads) < 2:
            return None
        waiter, waits = max(threads, key=lambda item: item[1].longest_wait_s)
        holder, holds = next(item for item in threads if item[0] != waiter)
        idle_s = max(0.0, self.wall_s * (1 - self.held_share))
        if waits.run_delay_s is not None:
            idle_s = min(idle_s, waits.run_delay_s)
        by_third_s = self.wall_s * self.held_share - holds.held_s - waits.held_s
        at_least_s = min(waits.longest_wait_s - max(0.0, by_third_s) - idle_s, holds.held_s)
        is_stall = waits.longest_wait_s > 2 * sys.getswitchinterval()
        return (waiter, holder, at_least_s) if is_stall and at_least_s > waits.longest_wait_s / 2 else None


def _run_by(function: Any) -> list[Any]:
    """Returns what a call of `function` runs: a function, or an object and its method `__call__`."""
    while isinstance(function, functools.partial):
        function = function.func
    return [function] if inspect.isroutine(function) else [function, type(function).__call__]


class _Used(NamedTuple):
    """The CPU time and the run delay of threads, in nanoseconds, by native thread id."""

    cpu_ns: dict[int, int]
    run_delay_ns: dict[int, int]
    #: False if the threads could not be listed, as without a free file descriptor. Then only those in the dicts are
    #: known.
    is_complete: bool = True

    def read_own_cpu(self) -> None:
        self.cpu_ns[threading.get_native_id()] = time.thread_time_ns()

    def read_own_run_delay(self) -> None:
        run_delay_ns = own_run_delay()
        if run_delay_ns is not None:
            self.run_delay_ns[threading.get_native_id()] = run_delay_ns


class _Open(NamedTuple):
    window: GilWindow
    before: _Used
    recorder: _ended_threads.Recorder
    has_histograms: bool

    def figures(self, own: _Used) -> dict[str, Any]:
        """Returns the attributes of the watch, as of now; the calling thread has used `own`."""
        reading = self.window.read()
        histograms = {"histograms": self.window.histograms()} if self.has_histograms else {}
        wall_s = reading.gil.metered_ns / 1e9
        now = _Used(cpu_clocks() | own.cpu_ns, run_delays() | own.run_delay_ns)
        ended = {one.row: one for one in tuple(self.recorder.ended)}
        living = _living()
        threads: dict[int, WatchedThread] = {}
        for row in reading.rows:
            if _took_part(row):
                used = self._used(row, now, ended.get(row.id), wall_s)
                name = living.get(row.tid) if not row.ended else None
                if name is None and row.id in ended:
                    name = ended[row.id].name
                if row.tid in threads:
                    # The system has given the id of an ended thread to another one.
                    threads[0] = _sum(threads.get(0), threads.pop(row.tid))
                threads[row.tid] = _watched(name, row, *used)
        for tid, name in living.items():
            if tid not in threads:
                before = None if tid in self.recorder.free else self.before
                threads[tid] = _watched(name, None, *_between(tid, before, now, wall_s))
        return {
            "wall_s": wall_s,
            "held_share": _share(reading.gil),
            "threads": threads,
            "others": {
                other.interpreter: _share(other) if other.metered else None for other in reading.others
            },
            **histograms,
        }

    def _used(
        self, row: "ThreadRow", now: _Used, ended: "_ended_threads.EndedThread | None", wall_s: float
    ) -> tuple[float | None, float | None]:
        """Returns the CPU time and the run delay of the thread of `row`, in seconds; None for what is unknown."""
        # Is the id that of a thread that existed before the watch, and ended? It may also have ended unnoticed.
        is_reused = row.is_new and (
            self.recorder.free.get(row.tid, row.id) != row.id
            or (row.tid in now.cpu_ns and now.cpu_ns[row.tid] < self.before.cpu_ns.get(row.tid, 0))
        )
        before = None if is_reused else self.before
        # A thread that removes itself from threading may live on, as the threads of greenlets do: its present CPU
        # clock takes precedence.
        if not row.ended and row.tid in now.cpu_ns:
            return _between(row.tid, before, now, wall_s)
        if ended is None:
            return None, None
        delays = {} if ended.run_delay_ns is None else {row.tid: ended.run_delay_ns}
        return _between(row.tid, before, _Used({row.tid: ended.cpu_ns}, delays), wall_s)


def _between(tid: int, before: _Used | None, now: _Used, wall_s: float) -> tuple[float | None, float | None]:
    """Returns the CPU time and the run delay of a thread between two readings, in seconds. `before` is None for a
    thread that did not exist then."""
    cpu_ns, delay_ns = now.cpu_ns.get(tid), now.run_delay_ns.get(tid)
    cpu_before: int | None = 0
    delay_before: int | None = 0
    if before:
        # Of a thread that existed, a reading may have failed.
        unknown = None if tid in before.cpu_ns or not before.is_complete else 0
        cpu_before, delay_before = before.cpu_ns.get(tid, unknown), before.run_delay_ns.get(tid, unknown)
    return (
        None if cpu_ns is None or cpu_before is None else _seconds(cpu_before, cpu_ns),
        # A delay that had begun before counts as a whole when it ends.
        None if delay_ns is None or delay_before is None else min(wall_s, _seconds(delay_before, delay_ns)),
    )


def _sum(one: WatchedThread | None, other: WatchedThread) -> WatchedThread:
    """Returns the row of ended threads without a row of their own, with `other` added to it."""
    if one is None:
        return replace(other, name=None)
    return WatchedThread(
        name=None,
        held_s=one.held_s + other.held_s,
        waited_s=one.waited_s + other.waited_s,
        longest_hold_s=max(one.longest_hold_s, other.longest_hold_s),
        longest_wait_s=max(one.longest_wait_s, other.longest_wait_s),
        acquisitions=one.acquisitions + other.acquisitions,
        cpu_s=None if one.cpu_s is None or other.cpu_s is None else one.cpu_s + other.cpu_s,
        run_delay_s=None
        if one.run_delay_s is None or other.run_delay_s is None
        else one.run_delay_s + other.run_delay_s,
    )


def _seconds(before_ns: int, now_ns: int) -> float:
    return max(0, now_ns - before_ns) / 1e9


def _living() -> dict[int, str]:
    """Returns the names of the living threads by native thread id. Before 3.13, threading knows the thread of a forked
    child by its id in the parent, so the id of the calling thread comes from the system.

    If threading is patched by gevent, each greenlet has a Thread there, with the native id of the thread that runs it.
    That thread is named after its own Thread: the main one, or the one that has been there for longest."""
    own = threading.get_ident()
    names: dict[int, str] = {}
    # threading.enumerate() would take a lock, which Ctrl-C may leave locked (`_call_under`).
    for thread in [threading.main_thread(), *tuple(threading._active.values())]:  # type: ignore[attr-defined]
        tid = threading.get_native_id() if thread.ident == own else thread.native_id
        if tid is not None and thread.is_alive():
            names.setdefault(tid, thread.name)
    return names


def _took_part(row: ThreadRow) -> bool:
    return bool(row.held_ns or row.waited_ns or row.acquisitions)


def _watched(
    name: str | None, row: ThreadRow | None, cpu_s: float | None, run_delay_s: float | None
) -> WatchedThread:
    return WatchedThread(
        name=name,
        held_s=row.held_ns / 1e9 if row else 0.0,
        waited_s=row.waited_ns / 1e9 if row else 0.0,
        longest_hold_s=row.longest_hold_ns / 1e9 if row else 0.0,
        longest_wait_s=row.longest_wait_ns / 1e9 if row else 0.0,
        acquisitions=row.acquisitions if row else 0,
        cpu_s=cpu_s,
        run_delay_s=run_delay_s,
    )


def _share(gil: GilRow) -> float:
    return gil.held_ns / max(1, gil.metered_ns)


def _is_sum(tid: int, thread: WatchedThread) -> bool:
    """Returns true for the row that sums up ended threads."""
    return tid == 0 and thread.name is None


def _label(tid: int, thread: WatchedThread) -> str:
    if _is_sum(tid, thread):
        return "ended threads"
    return f"{thread.name} ({tid})" if thread.name else f"thread {tid}"
