"""The face of libbusy as ctypes gives it, on any Python: face.c once more, for CPython 2.7 and 3.x.

The first argument is the library's file. Each other is a question, "case call cancel length"; each gets an answer,
"case status elapsed count". cases.txt says what the words mean.
"""

import ctypes
import os
import signal
import sys
import threading
import time

UNTOUCHED = 0xA5A5A5A5A5A5A5A5
OK, CANCELLED = 0, 1
STATUSES = [
    "ok",
    "cancelled",
    "NULL_POINTER",
    "OUT_OF_RANGE",
    "BAD_SIZE",
    "NO_SUCH_THREAD",
    "UNSUPPORTED",
    "PANIC",
    "BAD_OPTION",
    "NO_THREADS",
]


class Timespec(ctypes.Structure):
    _fields_ = [("tv_sec", ctypes.c_long), ("tv_nsec", ctypes.c_long)]


class WaitOptions(ctypes.Structure):
    _fields_ = [
        ("size", ctypes.c_size_t),
        ("cancel", ctypes.POINTER(ctypes.c_uint32)),
        ("clock", ctypes.c_uint32),
        ("reserved", ctypes.c_uint32),
    ]


class WaitResult(ctypes.Structure):
    _fields_ = [("count", ctypes.c_uint64), ("elapsed_ns", ctypes.c_uint64)]


class LoadOptions(ctypes.Structure):
    _fields_ = [
        ("size", ctypes.c_size_t),
        ("cancel", ctypes.POINTER(ctypes.c_uint32)),
        ("share", ctypes.c_double),
        ("period_ns", ctypes.c_uint64),
        ("duration_ns", ctypes.c_uint64),
        ("threads", ctypes.c_uint32),
        ("reserved", ctypes.c_uint32),
    ]


class LoadResult(ctypes.Structure):
    _fields_ = [("elapsed_ns", ctypes.c_uint64), ("cpu_ns", ctypes.c_uint64), ("share", ctypes.c_double)]


libc = ctypes.CDLL(None)
busy = ctypes.CDLL(sys.argv[1])
busy.busy_wait.argtypes = busy.busy_wait_time.argtypes = [ctypes.c_uint]
busy.busy_wait.restype = busy.busy_wait_time.restype = ctypes.c_uint64
busy.busy_wait_ns.argtypes = [ctypes.c_uint64, ctypes.POINTER(WaitOptions), ctypes.POINTER(WaitResult)]
busy.busy_load.argtypes = [ctypes.POINTER(LoadOptions), ctypes.POINTER(LoadResult)]
busy.busy_cancel_set.argtypes = [ctypes.POINTER(ctypes.c_uint32)]
busy.busy_thread_cpu_ns.argtypes = [ctypes.c_uint32, ctypes.POINTER(ctypes.c_uint64)]


def monotonic_ns():
    """CLOCK_MONOTONIC, for which 2.7 has no function."""
    now = Timespec()
    assert libc.clock_gettime(1, ctypes.byref(now)) == 0
    return now.tv_sec * 1000000000 + now.tv_nsec


def main_thread_cpu_ns():
    used = ctypes.c_uint64()
    assert busy.busy_thread_cpu_ns(os.getpid(), ctypes.byref(used)) == OK
    return used.value


def cancel_during(cancel, start):
    """Sets the flag once the main thread has used a millisecond of CPU time."""
    while main_thread_cpu_ns() < start + 1000000:
        time.sleep(0.0001)
    busy.busy_cancel_set(cancel)


def call(what, length, cancel):
    """Its status, and the time, if any, and the count that it reports."""
    if what in ("seconds", "time"):
        function = {"seconds": busy.busy_wait, "time": busy.busy_wait_time}[what]
        return OK, None, function(length)
    if what == "load":
        options = LoadOptions(ctypes.sizeof(LoadOptions), ctypes.pointer(cancel), 0.5, 10000000, length, 1, 0)
        result = LoadResult(UNTOUCHED, UNTOUCHED, 0)
        status = busy.busy_load(ctypes.byref(options), ctypes.byref(result))
        return status, result.elapsed_ns, result.cpu_ns
    clock = {"wait": 0, "tsc": 1}[what]
    options = WaitOptions(ctypes.sizeof(WaitOptions), ctypes.pointer(cancel), clock, 0)
    result = WaitResult(UNTOUCHED, UNTOUCHED)
    status = busy.busy_wait_ns(length, ctypes.byref(options), ctypes.byref(result))
    return status, result.elapsed_ns, result.count


def answer(what, how, length):
    cancel = ctypes.c_uint32()
    canceller = threading.Thread(target=cancel_during, args=(cancel, main_thread_cpu_ns()))
    if how == "before":
        busy.busy_cancel_set(cancel)
    elif how == "during":
        canceller.start()
    before = monotonic_ns()
    status, elapsed, count = call(what, length, cancel)
    took = monotonic_ns() - before
    if how == "during":
        canceller.join()
    if status not in (OK, CANCELLED):
        return [STATUSES[status]] + ["-" if value == UNTOUCHED else "written" for value in (elapsed, count)]
    asked = length
    if elapsed is None:  # the talk's functions, of whole seconds
        asked, elapsed = length * 1000000000, took
    passed = "impossible" if elapsed > took else "early" if elapsed < asked else "passed"
    return [STATUSES[status], passed, "some" if count > 0 else "none"]


signal.alarm(60)  # ends the process also if a wait does not end
for question in sys.argv[2:]:
    case, what, how, length = question.split()
    print(" ".join([case] + answer(what, how, int(length))))
