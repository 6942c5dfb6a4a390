"""`busy.log_stalls`: a line in the log for each hold of the GIL that made other threads wait for long."""

import atexit
import collections
import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import NamedTuple

from busy import _bounds, _ended_threads, _units
from busy._busy import stalls_forget, stalls_next, stalls_open, stalls_stop
from busy._gil import GilNotMeterable
from busy._own_thread import OwnThread

#: The frames of a stack that a line shows, the innermost ones.
_FRAMES = 12
_MINUTE_S = 60.0
#: The number of stalls that the meter keeps until they are reported.
_KEPT = 16
_FOREVER_NS = 2**64 - 1


class Stall(NamedTuple):
    """A hold of the GIL that made other threads wait. A record of the log has it as its attribute `gil_stall`."""

    #: The id of the interpreter to which the GIL belongs; 0 is the main interpreter.
    interpreter: int
    #: The native id of the thread that held the GIL.
    tid: int
    #: Its name in the threading module; None if threading does not know it.
    name: str | None
    #: When the hold began, on the clock of time.monotonic().
    at_s: float
    #: The length of the hold, in seconds.
    held_s: float
    #: How many threads waited when the hold ended.
    waiting: int
    #: The threads that waited for longest, at most eight: native id, name, and the part of the hold that it waited,
    #: in seconds.
    waiters: list[tuple[int, str | None, float]]
    #: The holder's Python stack during the hold, the innermost frame first: `FILE:LINE FUNCTION`.
    stack: list[str]
    #: The reason why there is no stack; None if there is one.
    missing: str | None


class Reporter:
    """Passes stalls on to a function, in a thread of its own, until `stop()`. In a forked child it goes on."""

    def __init__(
        self,
        threshold_s: float,
        take: Callable[[Stall | None, int], None],
        patience_ns: Callable[[], int] = lambda: _FOREVER_NS,
        at_end: Callable[[], None] = lambda: None,
        at_fork: Callable[[], None] = lambda: None,
    ) -> None:
        """`take` gets each stall and the number of long holds that came too fast before it; or None, after the time
        that `patience_ns` has returned. `at_end` is called after the last one, and `at_fork` in a forked child before
        its first one."""
        self._threshold_s, self._take, self._patience_ns = threshold_s, take, patience_ns
        self._at_end, self._at_fork = at_end, at_fork
        self._is_stopping = self._is_stopped = False
        self._stalls: object | None = None
        try:
            self._begin()
            _reporters.add(self)
        except BaseException:
            # As by Ctrl-C: nobody else could stop the thread, if it runs.
            self._is_stopping = True
            self._wake()
            raise

    def _begin(self) -> None:
        gevent = sys.modules.get("gevent.monkey")
        if gevent and gevent.is_module_patched("threading"):
            raise GilNotMeterable(
                "gevent has replaced the threads of this program by greenlets, so none could watch the others: "
                "call gevent.monkey.patch_all(thread=False)"
            )
        try:
            self._stalls = stalls_open(round(self._threshold_s * 1e9))
        except RuntimeError as reason:
            raise GilNotMeterable(str(reason)) from None
        self._ended = _ended_threads.Recorder()
        self._thread = OwnThread("busy.stalls", self._run)
        self._thread.start()

    def begin_anew(self) -> None:
        """Goes on in a forked child, which does not have the thread."""
        inherited, self._stalls = self._stalls, None
        self._at_fork()
        try:
            if self._is_stopping:
                self._ended.stop()
            else:
                # Before the start of the parent is undone, so that the meter runs without a gap.
                self._begin()
        finally:
            if inherited:
                # The frame of the thread may still refer to the capsule.
                stalls_forget(inherited)

    def _run(self) -> None:
        self._report()
        # Not in stop(), which Ctrl-C may interrupt: it only ever interrupts the main thread.
        self._ended.stop()
        self._guarded(self._at_end)
        # The end of the object stops the meter, if nobody else uses it.
        self._stalls = None

    def _report(self) -> None:
        rest = _KEPT
        while True:
            try:
                found = stalls_next(self._stalls, self._patience_ns())
            except RuntimeError as reason:
                if not self._is_stopping:
                    logging.getLogger("busy").error("stalls of the GIL are no longer reported: %s", reason)
                return
            # After a stop, those that came before it are still there.
            rest -= self._is_stopping
            if self._is_stopping and (not found or rest < 0):
                return
            stall = _stall(self._names(), *found[:-1]) if found else None
            # Its own waits for the GIL stall nobody else.
            stall = stall and _without(stall, threading.get_native_id())
            self._guarded(self._take, stall, found[-1] if found else 0)

    def _guarded(self, function: Callable[..., None], *arguments: object) -> None:
        """Calls a function that may raise, as by a handler of the log. The thread goes on all the same."""
        try:
            function(*arguments)
        except Exception:
            threading.excepthook(threading.ExceptHookArgs((*sys.exc_info(), threading.current_thread())))

    def _names(self) -> dict[int, str]:
        """Returns the names of threads by native id. A thread may end right after its hold."""
        names = {one.tid: one.name for one in tuple(self._ended.ended)}
        names.update((one.native_id, one.name) for one in threading.enumerate() if one.native_id is not None)
        # Before 3.13, threading knows the main thread of a forked child by its native id in the parent.
        names[os.getpid()] = threading.main_thread().name
        return names

    def stop(self) -> bool:
        """Returns false if it was stopped before. If Ctrl-C interrupts the wait for the thread, the thread ends
        nevertheless, and another call waits for it."""
        if self._is_stopped:
            return False
        self._is_stopping = True
        self._wake()
        if self._thread is not threading.current_thread():
            self._thread.wait()
        _reporters.discard(self)
        self._is_stopped = True
        return True

    def _wake(self) -> None:
        # The thread may end, and delete its object, at any time.
        stalls = self._stalls
        if stalls:
            stalls_stop(stalls)


class StallLog:
    """Logs stalls until `stop()`, or until the end of the `with` block. log_stalls() returns one."""

    def __init__(self, threshold_s: float, logger: logging.Logger, level: int, per_minute: int) -> None:
        self._logger, self._level, self._per_minute = logger, level, per_minute
        self._forget()
        self._reporter = Reporter(threshold_s, self._take, self._patience_ns, self._log_rest, self._forget)

    def _forget(self) -> None:
        """Forgets the lines, and the stalls that were not logged: in a forked child, they are those of the parent."""
        # When the latest lines were logged.
        self._logged: collections.deque[float] = collections.deque(maxlen=self._per_minute)
        self._suppressed, self._suppressed_s, self._missed = 0, 0.0, 0

    def _patience_ns(self) -> int:
        """Returns how long to wait for the next stall: if some were suppressed, until a line may report them."""
        if not self._suppressed and not self._missed:
            return _FOREVER_NS
        if not self._logged:
            return 0
        return round(max(0.0, self._logged[0] + _MINUTE_S - time.monotonic()) * 1e9)

    def _has_room(self) -> bool:
        """Returns true if another line may be logged in this minute."""
        return len(self._logged) < self._per_minute or time.monotonic() - self._logged[0] >= _MINUTE_S

    def _take(self, stall: Stall | None, missed: int) -> None:
        self._missed += missed
        if not self._has_room():
            self._suppressed += stall is not None
            self._suppressed_s += stall.held_s if stall else 0
            return
        self._log_rest()
        if stall:
            self._logged.append(time.monotonic())
            self._logger.log(self._level, "%s", describe(stall), extra={"gil_stall": stall})

    def _log_rest(self) -> None:
        """Logs the number of those that were not logged."""
        suppressed, suppressed_s, missed = self._suppressed, self._suppressed_s, self._missed
        self._suppressed, self._suppressed_s, self._missed = 0, 0.0, 0
        if suppressed:
            self._logger.log(
                self._level,
                "%d more stalls of the GIL were not logged, since %d lines per minute are: they held it for %s in all",
                suppressed,
                self._per_minute,
                _units.duration(suppressed_s),
                extra={"gil_stall": None},
            )
        if missed:
            self._logger.log(
                self._level,
                "%d long holds of the GIL came too fast to be examined",
                missed,
                extra={"gil_stall": None},
            )

    def stop(self) -> None:
        """Stops logging. Stalls that were suppressed are logged as a number."""
        self._reporter.stop()

    def __enter__(self) -> "StallLog":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


StallLog.__module__ = Stall.__module__ = "busy"

# A log goes on even if nobody keeps it.
_reporters: set[Reporter] = set()


def log_stalls(
    threshold: str | float = "100ms",
    *,
    logger: logging.Logger | str = "busy",
    level: int = logging.WARNING,
    per_minute: int = 60,
) -> StallLog:
    """Logs each hold of the GIL that lasts for `threshold` or longer and makes other threads wait: the thread's name,
    how long it held the GIL, which threads waited, and the holder's stack during the hold.

    >>> busy.log_stalls("100ms")
    >>> with busy.log_stalls("20ms"):
    ...     work()

    The stack is read by a thread that needs no GIL, while the hold lasts. The line is logged when the hold has ended,
    by a thread of its own, with the Stall as the attribute `gil_stall` of the record. Of many stalls, `per_minute`
    lines are logged within a minute; a later line, whose `gil_stall` is None, reports the number of the others. In a
    forked child, the log goes on, with the stalls and lines of the child alone.

    `threshold` is a time such as "100ms" or "1.5s", or a number of seconds; at least a millisecond and less than 1e9
    seconds. Keep the result in order to stop the log; it goes on until the process ends otherwise.

    Raises ValueError if `threshold` is out of this range or `per_minute` less than 1, TypeError if `logger` or `level`
    is of another type, and GilNotMeterable, a RuntimeError, if the GIL cannot be metered.
    """
    threshold_s = _bounds.parse_threshold(threshold, "1ms")
    if not isinstance(per_minute, int) or per_minute < 1:
        raise ValueError(f"per_minute: expected a number of lines, at least 1, found {per_minute!r}")
    if isinstance(level, bool) or not isinstance(level, int):
        raise TypeError(f"level: expected a number such as logging.WARNING, found {level!r}")
    log = logging.getLogger(logger) if isinstance(logger, str) else logger
    if not callable(getattr(log, "log", None)):
        raise TypeError(f"logger: expected a logging.Logger or its name, found {logger!r}")
    return StallLog(threshold_s, log, level, per_minute)


def describe(stall: Stall) -> str:
    """Returns the line for a stall."""
    stack = " < ".join(stall.stack[:_FRAMES]) + (" < ..." if len(stall.stack) > _FRAMES else "")
    where = f"no stack: {stall.missing}" if stall.missing else (stack or "no Python code")
    return (
        f"GIL held for {_units.duration(stall.held_s)} by {_label(stall.tid, stall.name)}, "
        f"while {_who_waited(stall)}: {where}"
    )


def _who_waited(stall: Stall) -> str:
    unnamed = stall.waiting - len(stall.waiters)
    if not stall.waiters:
        return f"{unnamed} thread{'' if unnamed == 1 else 's'} waited"
    # Only the first one has the verb: "A waited for 30 ms, B for 20 ms and 2 more".
    waits = ", ".join(
        f"{_label(tid, name)}{'' if index else ' waited'} for {_units.duration(waited_s)}"
        for index, (tid, name, waited_s) in enumerate(stall.waiters)
    )
    return f"{waits} and {unnamed} more" if unnamed > 0 else waits


def _label(tid: int, name: str | None) -> str:
    return f"{name} ({tid})" if name else f"thread {tid}"


def _stall(
    names: dict[int, str],
    interpreter: int,
    tid: int,
    at_ns: int,
    held_ns: int,
    waiting: int,
    waiters: list[tuple[int, int]],
    has_stack: bool,
    text: str,
) -> Stall:
    return Stall(
        interpreter=interpreter,
        tid=tid,
        name=names.get(tid),
        at_s=at_ns / 1e9,
        held_s=held_ns / 1e9,
        waiting=waiting,
        waiters=[(waiter, names.get(waiter), waited_ns / 1e9) for waiter, waited_ns in waiters],
        stack=text.splitlines() if has_stack else [],
        missing=None if has_stack else text.strip(),
    )


def _without(stall: Stall, tid: int) -> Stall | None:
    """Returns the stall without the wait of this thread; None if no other thread waited."""
    waiters = [waiter for waiter in stall.waiters if waiter[0] != tid]
    waiting = stall.waiting - len(stall.waiters) + len(waiters)
    return stall._replace(waiters=waiters, waiting=waiting) if waiting > 0 else None


def _begin_anew() -> None:
    for reporter in tuple(_reporters):
        reporter.begin_anew()


def _end() -> None:
    for reporter in tuple(_reporters):
        reporter.stop()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)
atexit.register(_end)
