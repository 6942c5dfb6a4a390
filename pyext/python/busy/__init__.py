"""Busy waits of an exact length, with the GIL held and with it released; and who has the GIL, measured.

>>> import busy
>>> busy.with_lock(0.5)     # no other thread runs Python code meanwhile
>>> busy.without_lock(0.5)  # the others run on
>>> with busy.watch() as w:
...     work()
>>> print(w)                # who held the GIL meanwhile, and who waited for it
>>> busy.check(work)        # does it release the GIL, and for how long does it stall others?

Both waits spin on the CPU for the time asked for, never less, and return how often they could read the clock. So they
are known truths to hold a measurement of the GIL against.
"""

import sys

if sys.version_info < (3, 10):  # noqa: UP036 - a path such as PYTHONPATH can bring it to any version
    raise ImportError("busy needs CPython 3.10 or later, this is %d.%d" % sys.version_info[:2])  # noqa: UP031

try:
    from busy._busy import __version__, with_lock, without_lock
except SystemError:
    # What 3.13t makes of a module that was built for other builds.
    if "t" not in sys.abiflags:
        raise
    raise ImportError(
        "this build of busy does not serve a free-threaded CPython, in which there is no GIL to hold or to meter: "
        "use the build with a GIL, or libbusy by ctypes"
    ) from None

TYPE_CHECKING = False  # As typing's, whose import would cost more than all of this.
if TYPE_CHECKING:
    from busy._check import Verdict, check
    from busy._watch import GilNotMeterable, WatchedThread, watch

# What is imported when it is first asked for, so that `import busy` stays cheap: the module of each name.
_LATER = {
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
    if name not in _LATER:
        raise AttributeError(f"module 'busy' has no attribute {name!r}")
    __import__(_LATER[name])
    value = globals()[name] = getattr(sys.modules[_LATER[name]], name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATER})
