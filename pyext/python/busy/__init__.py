"""Busy waits of an exact length, with the GIL held and with it released.

>>> import busy
>>> busy.with_lock(0.5)     # no other thread runs Python code meanwhile
>>> busy.without_lock(0.5)  # the others run on

Both spin on the CPU for the time asked for, never less, and return how often they could read the clock. So they are
known truths to hold a measurement of the GIL against.
"""

import sys

if sys.version_info < (3, 10):  # noqa: UP036 - a path such as PYTHONPATH can bring it to any version
    raise ImportError("busy needs CPython 3.10 or later, this is %d.%d" % sys.version_info[:2])  # noqa: UP031

from busy._busy import __version__, with_lock, without_lock

__all__ = ["__version__", "with_lock", "without_lock"]
