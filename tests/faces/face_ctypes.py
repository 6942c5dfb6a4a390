"""The ctypes face, on any Python: the same as face.c, for CPython 2.7 and 3.x.

The first argument is the path of the library. Each other argument is a request, "case call cancel length". For
each request the script prints a reply, "case status elapsed count". cases.txt defines the words of a request, and
table.rs those of a reply.
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
    """Returns the time of CLOCK_MONOTONIC, for which 2.7 has no function."""
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


def call(name, length, cancel):
    """Returns the status, the elapsed time (None if the function does not report it) and the count."""
    if name in ("seconds", "time"):
        function = {"seconds": busy.busy_wait, "time": busy.busy_wait_time}[name]
        return OK, None, function(length)
    if name == "load":
        options = LoadOptions(ctypes.sizeof(LoadOptions), ctypes.pointer(cancel), 0.5, 10000000, length, 1, 0)
        result = LoadResult(UNTOUCHED, UNTOUCHED, 0)
        status = busy.busy_load(ctypes.byref(options), ctypes.byref(result))
        return status, result.elapsed_ns, result.cpu_ns
    clock = {"wait": 0, "tsc": 1}[name]
    options = WaitOptions(ctypes.sizeof(WaitOptions), ctypes.pointer(cancel), clock, 0)
    result = WaitResult(UNTOUCHED, UNTOUCHED)
    status = busy.busy_wait_ns(length, ctypes.byref(options), ctypes.byref(result))
    return status, result.elapsed_ns, result.count


def reply(name, cancel_time, length):
    cancel = ctypes.c_uint32()
    canceller = threading.Thread(target=cancel_during, args=(cancel, main_thread_cpu_ns()))
    if cancel_time == "before":
        busy.busy_cancel_set(cancel)
    elif cancel_time == "during":
        canceller.start()
    before = monotonic_ns()
    status, elapsed, count = call(name, length, cancel)
    took = monotonic_ns() - before
    if cancel_time == "during":
        canceller.join()
    if status not in (OK, CANCELLED):
        return [STATUSES[status]] + ["-" if value == UNTOUCHED else "written" for value in (elapsed, count)]
    requested = length
    if elapsed is None:  # the talk's functions, which take whole seconds
        requested, elapsed = length * 1000000000, took
    passed = "impossible" if elapsed > took else "early" if elapsed < requested else "passed"
    return [STATUSES[status], passed, "some" if count > 0 else "none"]


signal.alarm(60)  # ends the process if a wait does not end
for request in sys.argv[2:]:
    case, name, cancel_time, length = request.split()
    print(" ".join([case] + reply(name, cancel_time, int(length))))
