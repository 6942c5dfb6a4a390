"""The threads of short_threads.c, which know nothing of Python's threading module."""

import ctypes
import sys

from meter import u64

python, library = ctypes.PyDLL(None), ctypes.CDLL(sys.argv[2])


class Functions(ctypes.Structure):
    _fields_ = [
        (name, ctypes.c_void_p) for name in ("interpreter", "new", "restore", "save", "clear", "delete")
    ]


def functions():
    names = "PyThreadState_New", "PyEval_RestoreThread", "PyEval_SaveThread", "PyThreadState_Clear"
    names += ("PyThreadState_Delete",)
    python.PyInterpreterState_Head.restype = ctypes.c_void_p
    addresses = [ctypes.cast(getattr(python, name), ctypes.c_void_p).value for name in names]
    return Functions(python.PyInterpreterState_Head(), *addresses)


library.one_after_the_other.argtypes = [ctypes.c_void_p, u64, u64, ctypes.c_void_p]
library.begin_all.argtypes = [ctypes.c_void_p, ctypes.c_uint, u64]
cpython = functions()


def one_after_the_other(count, hold_ns):
    """Runs threads that each hold the GIL for so long. Returns for how long they did so in all at least, and at most,
    and how long the longest hold was at least, and at most, in nanoseconds."""
    truth = (u64 * 4)()
    assert library.one_after_the_other(ctypes.byref(cpython), count, hold_ns, truth) == 0
    return list(truth)


def begin_all(count, hold_ns):
    """Starts threads that hold the GIL in turn, each once, and stay alive until end_all()."""
    assert library.begin_all(ctypes.byref(cpython), count, hold_ns) == 0


def end_all(count):
    library.end_all(count)
