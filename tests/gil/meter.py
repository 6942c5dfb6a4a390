"""Calls busy_gil.h through ctypes, in CPython 2.7 and 3.7 or later. Each script's first argument is libbusy's path."""

import ctypes
import signal
import sys

u32, u64, i64, size_t = ctypes.c_uint32, ctypes.c_uint64, ctypes.c_int64, ctypes.c_size_t

# Its calls hold the GIL. PyPy has no PyDLL.
HELD = getattr(ctypes, "PyDLL", ctypes.CDLL)(sys.argv[1])
RELEASED = ctypes.CDLL(sys.argv[1])


def end_if_stuck():
    """Ends the process after a minute by a signal's default action, which works even if no Python code runs."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(60)


end_if_stuck()


class Totals(ctypes.Structure):
    _fields_ = [
        ("size", size_t),
        ("gil", u32),
        ("window", u32),
        ("gils", u32),
        ("metered", u32),
        ("interpreter", i64),
    ] + [
        (name, u64)
        for name in (
            "at_ns metered_ns held_ns waited_ns acquisitions voluntary_releases forced_drops "
            "longest_hold_ns longest_wait_ns session unlisted_gils unlisted_threads"
        ).split()
    ]


class Thread(ctypes.Structure):
    _fields_ = [("id", u64), ("tid", u32), ("state", u32)] + [
        (name, u64)
        for name in (
            "held_ns waited_ns acquisitions waits voluntary_releases forced_drops longest_hold_ns longest_wait_ns"
        ).split()
    ]


class Histograms(ctypes.Structure):
    _fields_ = [("size", size_t), ("gil", u32), ("window", u32), ("holds", u64 * 26), ("waits", u64 * 26)]


class Waited(ctypes.Structure):
    _fields_ = [("count", u64), ("elapsed_ns", u64)]


for library in (HELD, RELEASED):
    library.busy_gil_snapshot.argtypes = [ctypes.c_void_p, ctypes.c_void_p, size_t, ctypes.c_void_p]
    library.busy_gil_reason.argtypes = [ctypes.c_void_p, size_t]
    library.busy_gil_reason.restype = size_t
    library.busy_wait_ns.argtypes = [u64, ctypes.c_void_p, ctypes.c_void_p]

OK, BAD_OPTION, OFF, REFUSED, NOT_HELD = 0, 8, 10, 11, 12
# Of Thread.state.
HOLDS, WAITS, ENDED, NEW = 1, 2, 4, 8


def tid():
    """Returns the native id of the calling thread, which threading has from 3.8 on."""
    return ctypes.PyDLL(None).syscall(186)


def reason():
    text = ctypes.create_string_buffer(HELD.busy_gil_reason(None, 0))
    HELD.busy_gil_reason(text, len(text))
    return text.value.decode()


def start():
    status = HELD.busy_gil_start()
    if status:
        raise RuntimeError("status {}: {}".format(status, reason()))


def stop():
    assert HELD.busy_gil_stop() == OK


def rows(gil=0, window=0, library=HELD, capacity=64):
    """Returns the totals, and the rows in the order of their ids."""
    totals, threads, needed = Totals(ctypes.sizeof(Totals), gil, window), (Thread * capacity)(), size_t()
    status = library.busy_gil_snapshot(ctypes.byref(totals), threads, capacity, ctypes.byref(needed))
    assert status == OK, (status, gil, window, reason())
    return totals, threads[: min(needed.value, capacity)]


def snapshot(gil=0, window=0, library=HELD, capacity=64):
    """Returns the totals, and the rows by thread id: the latest one if the system has reused an id."""
    totals, threads = rows(gil, window, library, capacity)
    return totals, dict((row.tid, row) for row in threads)


def own_thread():
    """Returns the calling thread's row."""
    row = Thread()
    assert HELD.busy_gil_own_thread(ctypes.byref(row)) == OK
    return row


def histograms(number=0, status=OK):
    """Returns the counts of the holds and of the waits, by length."""
    found = Histograms(ctypes.sizeof(Histograms), 0, number)
    assert HELD.busy_gil_histograms_read(ctypes.byref(found)) == status
    return list(found.holds), list(found.waits)


def window():
    number = u32()
    status = HELD.busy_gil_window_open(ctypes.byref(number))
    assert status == OK, status
    return number.value


def close(number):
    assert HELD.busy_gil_window_close(number) == OK


def wait(library, ns):
    """Spins for `ns` nanoseconds and returns the elapsed time."""
    waited = Waited()
    assert library.busy_wait_ns(ns, None, ctypes.byref(waited)) == OK
    return waited.elapsed_ns
