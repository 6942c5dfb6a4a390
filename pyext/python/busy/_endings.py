"""CPU time and name of threads as they end: while somebody listens, each tells them itself, as its last Python code.

A thread's CPU clock goes with it, so nobody else can read it later; and threading has no hook for a thread's end. But
every thread of threading, from 3.10 to 3.15, takes itself out of `threading._active` (Thread._bootstrap_inner or
_delete, and _DeleteDummyThreadOnDel), under `_active_limbo_lock`. Of threads that threading never knew nothing is told.
"""

import threading
import time
import weakref
from typing import NamedTuple


class Ended(NamedTuple):
    tid: int
    name: str
    cpu_ns: int


class _Active(dict):
    """`threading._active` while somebody listens."""

    def __delitem__(self, ident):
        _tell(ident, self.get(ident))
        super().__delitem__(ident)

    def pop(self, ident, *default):
        _tell(ident, self.get(ident))
        return super().pop(ident, *default)


class Listening:
    """Those that end from its making to its `stop`; or to its own end, should Ctrl-C come in between."""

    def __init__(self) -> None:
        self.ended: list[Ended] = []
        with threading._active_limbo_lock:  # type: ignore[attr-defined]
            if not isinstance(threading._active, _Active):  # type: ignore[attr-defined]
                threading._active = _Active(threading._active)  # type: ignore[attr-defined]
            _listening.add(self)

    def stop(self) -> None:
        with threading._active_limbo_lock:  # type: ignore[attr-defined]
            _listening.discard(self)
            if not _listening:
                threading._active = dict(threading._active)  # type: ignore[attr-defined]


# Changed under threading's lock, which those that end have as well.
_listening: weakref.WeakSet[Listening] = weakref.WeakSet()


def _tell(ident, thread):
    if thread is not None and ident == threading.get_ident():
        ended = Ended(threading.get_native_id(), thread.name, time.thread_time_ns())
        for listening in _listening:
            listening.ended.append(ended)
