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

if sys.version_info < (3, 10):  # noqa: UP036 - any version may find it through PYTHONPATH
    raise ImportError("busy requires CPython 3.10 or later, found %d.%d" % sys.version_info[:2])  # noqa: UP031

try:
    from busy._busy import __version__, with_lock, without_lock
except SystemError:
    # 3.13t raises this for a module that was built for a CPython with a GIL.
    if "t" not in sys.abiflags:
        raise
    raise ImportError(
        "this build of busy does not support free-threaded CPython, which has no GIL to hold or meter: "
        "use a CPython with a GIL, or call libbusy through ctypes"
    ) from None

# Type checkers know the name; importing typing would take longer than this whole module.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from busy._check import Verdict, check
    from busy._watch import GilNotMeterable, WatchedThread, watch

# The module of each name that is imported on first use, so that `import busy` stays cheap.
_LAZY = {
    "GilNotMeterable": "busy._watch",
    "Verdict": "busy._check",
    "WatchedThread": "busy._watch",
    "check": "busy._check",
    "watch": "busy._watch",
}

__all__ = [
    "GilNotMeterable",
    "Verdict",
    "WatchedThread",
    "__version__",
    "check",
    "watch",
    "with_lock",
    "without_lock",
]


def __getattr__(name: str) -> object:
    if name not in _LAZY:
        raise AttributeError(f"module 'busy' has no attribute {name!r}")
    __import__(_LAZY[name])
    value = globals()[name] = getattr(sys.modules[_LAZY[name]], name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
