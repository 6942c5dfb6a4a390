"""CPU time and name of threads as they end: while somebody listens, each tells them itself, as its last Python code.

A thread's CPU clock goes with it, so nobody else can read it later; and threading has no hook for a thread's end. But
every thread of threading, from 3.10 to 3.15, takes itself out of `threading._active` (Thread._bootstrap_inner or
_delete, and _DeleteDummyThreadOnDel), under `_active_limbo_lock`. Of threads that threading never knew nothing is told.
"""

import threading
import time
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


# One list for each who listens; changed under threading's lock, which those that end have as well.
_listeners: list[list[Ended]] = []


def _tell(ident, thread):
    if thread is not None and ident == threading.get_ident():
        ended = Ended(threading.get_native_id(), thread.name, time.thread_time_ns())
        for listener in _listeners:
            listener.append(ended)


def listen() -> list[Ended]:
    """A list that gets those that end from here on."""
    ended: list[Ended] = []
    with threading._active_limbo_lock:  # type: ignore[attr-defined]
        if not _listeners:
            threading._active = _Active(threading._active)  # type: ignore[attr-defined]
        _listeners.append(ended)
    return ended


def stop(ended: list[Ended]) -> None:
    """Ends what `listen` began."""
    with threading._active_limbo_lock:  # type: ignore[attr-defined]
        _listeners[:] = [listener for listener in _listeners if listener is not ended]
        if not _listeners:
            threading._active = dict(threading._active)  # type: ignore[attr-defined]
