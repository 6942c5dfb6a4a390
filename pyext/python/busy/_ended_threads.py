"""The name, the CPU time and the run delay of threads that end: while a recorder exists, each thread records its own,
as its last Python code.

A thread's CPU clock and schedstat end with the thread, so no other thread can read them later, and the threading module
has no hook for the end of a thread. But every thread of threading, from 3.10 to 3.15, removes itself from
`threading._active` (Thread._bootstrap_inner or _delete, and _DeleteDummyThreadOnDel) under `_active_limbo_lock`.
Threads that threading does not know are not recorded.
"""

import threading
import time
import weakref
from typing import NamedTuple

from busy._busy import own_run_delay


class EndedThread(NamedTuple):
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
    """Records the threads that end until its `stop`. If Ctrl-C prevents the call of `stop`, it records until it is
    deallocated."""

    def __init__(self) -> None:
        self.ended: list[EndedThread] = []
        with threading._active_limbo_lock:  # type: ignore[attr-defined]
            if not isinstance(threading._active, _Active):  # type: ignore[attr-defined]
                threading._active = _Active(threading._active)  # type: ignore[attr-defined]
            _recorders.add(self)

    def stop(self) -> None:
        with threading._active_limbo_lock:  # type: ignore[attr-defined]
            _recorders.discard(self)
            if not _recorders:
                threading._active = dict(threading._active)  # type: ignore[attr-defined]


# Changed under threading's lock, which a thread that ends holds as well.
_recorders: weakref.WeakSet[Recorder] = weakref.WeakSet()


def _record(ident, thread):
    if thread is not None and ident == threading.get_ident():
        ended = EndedThread(threading.get_native_id(), thread.name, time.thread_time_ns(), own_run_delay())
        for recorder in _recorders:
            recorder.ended.append(ended)
