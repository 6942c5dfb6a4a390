"""Forks in a thread without the GIL, in a process with a library whose fork handler acquires the GIL, while the thread
that holds the GIL reads the figures.

The arguments: libbusy, and the library of fork_handler.c.
"""

import ctypes
import sys

from meter import snapshot, start, stop

library = ctypes.CDLL(sys.argv[2])
functions = [ctypes.pythonapi.PyGILState_Ensure, ctypes.pythonapi.PyGILState_Release]
started = library.begin(*[ctypes.cast(function, ctypes.c_void_p) for function in functions])
assert started == 0, started
start()
while not library.has_forked():
    snapshot()
stop()
print("forked")
