"""`busy.watch`: which threads hold the GIL, and which ones wait for it, during a block or a call."""

import functools
import inspect
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from busy import _ended_threads, _units
from busy._busy import cpu_clocks, gil_not_meterable, gil_window

if TYPE_CHECKING:
    from busy._busy import GilNotMeterable, GilRow, GilWindow, ThreadRow
else:
    GilNotMeterable = gil_not_meterable()

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
    #: CPU time, user and system. None for a thread that threading does not know and that ended during the watch: its
    #: CPU clock could not be read.
    cpu_s: float | None


class watch:  # noqa: N801 - lower case, since it is used as a function, like those of contextlib
    """Measure exactly which threads hold the GIL and which ones wait for it.

    >>> with busy.watch() as w:
    ...     work()
    >>> w.held_share, w.threads[threading.get_native_id()].longest_hold_s

    When the block has ended, normally or by an exception, `w` has these attributes:

    - `wall_s`: the duration of the block;
    - `held_share`: the share of `wall_s` during which any thread held the GIL, from 0 to 1;
    - `threads`: a dict of WatchedThread by native thread id. It contains each thread that held the GIL or waited for
      it during the block, even if the thread has ended, and each thread that the threading module knows;
    - `others`: a dict of the held share of the GILs of other interpreters, by interpreter id (CPython 3.12 and later).
      The share is None for a GIL that could not be metered because it was held, or idle, all the time. All other
      attributes describe the GIL of the interpreter in which the block began.

    As a decorator, `@busy.watch()` watches each call of a function, and each call of a coroutine function until the
    coroutine ends. The attribute `watch` of the function is the watch of the latest call that has ended. Any number of
    watches nest and overlap. In a forked child, the figures begin at the fork.

    Raises GilNotMeterable, a RuntimeError, if the GIL cannot be metered: in a free-threaded interpreter, and on any
    platform but Linux on x86-64 with glibc.
    """

    wall_s: float
    held_share: float
    threads: dict[int, WatchedThread]
    others: dict[int, float | None]

    def __init__(self) -> None:
        self._open: _Open | None = None

    def __enter__(self) -> "watch":
        if self._open:
            raise RuntimeError("this watch is already open: create another one with busy.watch()")
        cpu_before = cpu_clocks()
        window = gil_window()
        self._open = _Open(window, cpu_before, _ended_threads.Recorder())
        # Read again, so that the cost of opening the watch does not count.
        cpu_before[threading.get_native_id()] = time.thread_time_ns()
        return self

    def __exit__(self, *_: object) -> None:
        own_cpu_ns = time.thread_time_ns()
        if not self._open:
            raise RuntimeError("this watch is not open")
        opened, self._open = self._open, None
        try:
            reading = opened.window.read()
            cpu_ns = cpu_clocks() | {threading.get_native_id(): own_cpu_ns}
        finally:
            opened.window.close()
            opened.recorder.stop()
        names: dict[int, str] = {}
        for ended in opened.recorder.ended:
            names[ended.tid] = ended.name
            # A thread that removes itself from threading may live on, as the threads of greenlets do: its present CPU
            # clock takes precedence.
            cpu_ns.setdefault(ended.tid, ended.cpu_ns)
        names.update(_living())
        rows = {tid: row for tid, row in reading["threads"].items() if _took_part(row)}
        # One call sets all figures, so that Ctrl-C leaves either all of them or none.
        self.__dict__.update(
            wall_s=reading["gil"].metered_ns / 1e9,
            held_share=_share(reading["gil"]),
            threads={
                tid: _watched(names.get(tid), rows.get(tid), cpu_ns.get(tid), opened.cpu_before.get(tid, 0))
                for tid in {**rows, **names}
            },
            others={
                other.interpreter: _share(other) if other.metered else None for other in reading["others"]
            },
        )

    def __call__(self, function: _Function) -> _Function:
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise TypeError(
                "cannot watch a generator function, since a generator runs after the call has returned: "
                "put `with busy.watch()` around the code that uses the generator"
            )
        if not callable(function) or inspect.isclass(function):
            raise TypeError(f"expected a function to watch, found {function!r}")

        async def watched_coroutine(*args: Any, **kwargs: Any) -> Any:
            this = watch()
            try:
                with this:
                    return await function(*args, **kwargs)
            finally:
                wrapper.watch = this  # type: ignore[attr-defined]

        def watched(*args: Any, **kwargs: Any) -> Any:
            this = watch()
            try:
                with this:
                    return function(*args, **kwargs)
            finally:
                wrapper.watch = this  # type: ignore[attr-defined]

        watches = watched_coroutine if inspect.iscoroutinefunction(function) else watched
        wrapper = functools.wraps(function)(watches)
        wrapper.watch = None  # type: ignore[attr-defined]
        return wrapper  # type: ignore[return-value]

    def __getattr__(self, name: str) -> Any:
        if name in watch.__annotations__:
            raise AttributeError(f"{name} is not available until the block has ended")
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __repr__(self) -> str:
        if "wall_s" not in self.__dict__:
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
            )
        for interpreter, share in self.others.items():
            state = "could not be metered" if share is None else f"was held for {_units.percent(share)}"
            lines.append(f"  the GIL of interpreter {interpreter} {state}")
        return "\n".join(lines)

    def _by_held(self) -> list[tuple[int, WatchedThread]]:
        return sorted(self.threads.items(), key=lambda item: -item[1].held_s)


class _Open(NamedTuple):
    window: "GilWindow"
    cpu_before: dict[int, int]
    recorder: _ended_threads.Recorder


def _living() -> dict[int, str]:
    """Returns the names of the living threads by native thread id. Before 3.13, threading knows the thread of a forked
    child by its id in the parent, so the id of the calling thread comes from the system."""
    own = threading.get_ident()
    ids = {
        threading.get_native_id() if thread.ident == own else thread.native_id: thread.name
        for thread in threading.enumerate()
    }
    return {tid: name for tid, name in ids.items() if tid is not None}


def _took_part(row: "ThreadRow") -> bool:
    return bool(row.held_ns or row.waited_ns or row.acquisitions)


def _watched(
    name: str | None, row: "ThreadRow | None", cpu_ns: int | None, cpu_before_ns: int
) -> WatchedThread:
    return WatchedThread(
        name=name,
        held_s=row.held_ns / 1e9 if row else 0.0,
        waited_s=row.waited_ns / 1e9 if row else 0.0,
        longest_hold_s=row.longest_hold_ns / 1e9 if row else 0.0,
        longest_wait_s=row.longest_wait_ns / 1e9 if row else 0.0,
        acquisitions=row.acquisitions if row else 0,
        cpu_s=None if cpu_ns is None else max(0, cpu_ns - cpu_before_ns) / 1e9,
    )


def _share(gil: "GilRow") -> float:
    return gil.held_ns / max(1, gil.metered_ns)


def _label(tid: int, thread: WatchedThread) -> str:
    return f"{thread.name} ({tid})" if thread.name else f"thread {tid}"
