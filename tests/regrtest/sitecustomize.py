"""Loads libbusy when an interpreter starts. Starts its GIL meter if METER is set to `on`, and never stops it.

tests/regrtest/run.py puts this folder on PYTHONPATH, so child interpreters do the same. The runs with and without the
meter differ in this one call. In another than the main interpreter, 3.12 can't import ctypes.
"""

import os
import sys


def _is_main():
    if sys.version_info < (3, 12):
        return True
    interpreters = __import__("_xxsubinterpreters" if sys.version_info < (3, 13) else "_interpreters")
    # From 3.13 on, both return a tuple whose first item is the id.
    return interpreters.get_current() == interpreters.get_main()


def _load():
    import ctypes

    # PyDLL leaves the GIL held, as busy_gil_start() requires.
    library = ctypes.PyDLL(os.environ["BUSY_REGRTEST_LIBBUSY"])
    if os.environ["BUSY_REGRTEST_METER"] == "on":
        status = library.busy_gil_start()
        # One write(2) of a short line is whole, whichever process writes at the same time.
        log = os.open(os.environ["BUSY_REGRTEST_LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(log, f"{os.getpid()} {status}\n".encode())
        os.close(log)


# A test may run Python in another environment, or with another sys.path.
if "BUSY_REGRTEST_LIBBUSY" in os.environ and _is_main():
    _load()
