"""The name, the CPU time and the run delay of threads that end: while a recorder exists, each thread records its own,
as its last Python code.

A thread's CPU clock and schedstat end with the thread, so no other thread can read them later, and the threading module
has no hook for the end of a thread. But every thread of threading, from 3.10 to 3.15, removes itself from
`threading._active` (Thread._bootstrap_inner or _delete, and _DeleteDummyThreadOnDel) under `_active_limbo_lock`.
Threads that threading does not know are not recorded.
"""

import collections
import os
import threading
import time
import weakref
from collections.abc import Container
from typing import NamedTuple

from busy import _call_under
from busy._busy import own_row, own_run_delay

# As many ended threads as the meter keeps apart.
_MOST = 1024


class EndedThread(NamedTuple):
    #: The `id` of its row; None if it has none.
    row: int | None
    tid: int
    name: str
    cpu_ns: int
    run_delay_ns: int | None


class _Active(dict):
    """The `threading._active` that is in place while a recorder exists."""

    def __delitem__(self, ident):
        _record(ident, self.get(ident))
        super().__delitem__(ident)

    def pop(self, ident, *default):
        _record(ident, self.get(ident))
        return super().pop(ident, *default)


class Recorder:
    """Records the threads that end until its `stop`, the latest ones if there are many. If Ctrl-C prevents the call of
    `stop`, it records until it is deallocated."""

    def __init__(self, begun: Container[int] = ()) -> None:
        """`begun` are the native ids of the threads that exist."""
        self.ended: collections.deque[EndedThread] = collections.deque(maxlen=_MOST)
        self._begun, self._owner = begun, threading.get_ident()
        #: Those of `begun` that the system may have given to other threads by now, with the row of the ended thread.
        self.free: dict[int, int | None] = {}
        _call_under(threading._active_limbo_lock, self._begin)  # type: ignore[attr-defined]

    def _begin(self) -> None:
        if not isinstance(threading._active, _Active):  # type: ignore[attr-defined]
            threading._active = _Active(threading._active)  # type: ignore[attr-defined]
        _recorders.add(self)

    def stop(self) -> None:
        _call_under(threading._active_limbo_lock, self._end)  # type: ignore[attr-defined]

    def _end(self) -> None:
        _recorders.discard(self)
        if not _recorders:
            threading._active = dict(threading._active)  # type: ignore[attr-defined]


# Changed under threading's lock, which a thread that ends holds as well.
_recorders: weakref.WeakSet[Recorder] = weakref.WeakSet()


def _begin_anew() -> None:
    """Stops the recorders of threads that a forked child does not have, since nobody else would. The others forget the
    threads that ended in the parent."""
    for recorder in tuple(_recorders):
        if recorder._owner == threading.get_ident():
            recorder.ended.clear()
            recorder.free.clear()
            recorder._begun = ()
        else:
            recorder.stop()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)


def _record(ident, thread):
    if thread is not None and ident == threading.get_ident():
        tid = threading.get_native_id()
        ended = EndedThread(own_row(), tid, thread.name, time.thread_time_ns(), own_run_delay())
        for recorder in _recorders:
            recorder.ended.append(ended)
            if tid in recorder._begun:
                recorder.free.setdefault(tid, ended.row)
