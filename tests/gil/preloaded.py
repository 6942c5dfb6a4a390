"""A library for LD_PRELOAD that redefines the functions of the GIL sees every call while the meter runs. Its path is
the second argument."""

import ctypes
import sys

import meter
from other import IS_SEMAPHORE, ROUNDS, Copy, check, load

calls = ctypes.PyDLL(sys.argv[2]).preloaded_calls
calls.restype = ctypes.c_ulong
own = Copy(sys.argv[1])
own.start()
window, before = own.open(), calls()
released = load()
seen = calls() - before
status, totals = own.read(window)
assert status == meter.OK, status
error = check(totals, released, "preloaded")
own.stop()
assert seen >= (ROUNDS if IS_SEMAPHORE else 2 * ROUNDS), seen
print("seen")
