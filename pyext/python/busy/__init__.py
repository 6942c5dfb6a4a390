"""Busy waits of an exact length, which hold or release the GIL, and an exact meter of the GIL.

>>> import busy
>>> busy.with_lock(0.5)     # holds the GIL: no other thread runs Python code
>>> busy.without_lock(0.5)  # releases the GIL: other threads run
>>> with busy.watch() as w:
...     work()
>>> print(w)                # which threads held the GIL, and which ones waited for it
>>> busy.check(work)        # does work() release the GIL, and for how long does it stall other threads?

Both waits spin on the CPU for at least the given time, and return the number of clock polls. So they provide the ground
truth for a measurement of the GIL.
"""

import sys

# Any version may find this file through PYTHONPATH, so it has to be valid in Python 2.7 as well.
if sys.version_info < (3, 10):
    raise ImportError("the module busy requires CPython 3.10 or later, found %d.%d" % sys.version_info[:2])

from _thread import RLock

try:
    from busy._busy import __version__, with_lock, without_lock
except SystemError:
    # 3.13t raises this for a module that was built for a CPython with a GIL.
    if "t" not in sys.abiflags:
        raise
    _unsupported = ImportError(
        "this build of busy does not support free-threaded CPython, which has no GIL to hold or meter: "
        "use a CPython with a GIL, or call libbusy through ctypes"
    )
    _unsupported.__suppress_context__ = True
    raise _unsupported

# Type checkers know the name; importing typing would take longer than this whole module.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable  # noqa: F401 (in a type comment)

    from busy._check import Verdict, check
    from busy._counters import Counters, counters
    from busy._gil import GilNotMeterable, Histograms, ThreadTimes, thread_times
    from busy._installation import get_include, get_library
    from busy._loop_delay import SlowTurn, loop_delay
    from busy._stalls import Stall, StallLog, log_stalls
    from busy._watch import WatchedThread, watch

# The module of each name that is imported on first use, so that `import busy` stays cheap.
_LAZY = {
    "Counters": "busy._counters",
    "GilNotMeterable": "busy._gil",
    "Histograms": "busy._gil",
    "SlowTurn": "busy._loop_delay",
    "Stall": "busy._stalls",
    "StallLog": "busy._stalls",
    "ThreadTimes": "busy._gil",
    "Verdict": "busy._check",
    "WatchedThread": "busy._watch",
    "check": "busy._check",
    "counters": "busy._counters",
    "get_include": "busy._installation",
    "get_library": "busy._installation",
    "log_stalls": "busy._stalls",
    "loop_delay": "busy._loop_delay",
    "thread_times": "busy._gil",
    "watch": "busy._watch",
}

__all__ = [
    "Counters",
    "GilNotMeterable",
    "Histograms",
    "SlowTurn",
    "Stall",
    "StallLog",
    "ThreadTimes",
    "Verdict",
    "WatchedThread",
    "__version__",
    "check",
    "counters",
    "get_include",
    "get_library",
    "log_stalls",
    "loop_delay",
    "thread_times",
    "watch",
    "with_lock",
    "without_lock",
]


# Held during an import on first use. fork(2) waits for it: otherwise, a child would inherit importlib's lock of the
# module from a thread that the child does not have, and its own import would wait for ever (`_ModuleLock`,
# Lib/importlib/_bootstrap.py).
_importing = RLock()
try:
    from posix import register_at_fork
except ImportError:
    pass  # This system has no fork(2).
else:
    register_at_fork(
        before=_importing.acquire, after_in_parent=_importing.release, after_in_child=_importing.release
    )


def _call_under(lock, function):
    # type: (RLock, Callable[[], object]) -> None
    """Calls `function` while the thread holds `lock`.

    It is like `with lock:`, but there CPython 3.14 handles signals between the acquire and the block, and Ctrl-C can
    leave the lock locked for ever. Here, the acquire is part of the block, and the release is the first call after it.
    """
    try:
        lock.acquire()
        function()
    finally:
        try:
            lock.release()
        except RuntimeError:
            pass  # Ctrl-C came during the acquire, so the thread does not hold it.


def __getattr__(name):
    # type: (str) -> object
    if name not in _LAZY:
        raise AttributeError("module 'busy' has no attribute %r" % name)
    _call_under(_importing, lambda: __import__(_LAZY[name]))
    value = globals()[name] = getattr(sys.modules[_LAZY[name]], name)
    return value


def __dir__():
    # type: () -> list[str]
    return sorted(set(globals()) | set(_LAZY))
