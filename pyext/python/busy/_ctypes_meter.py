"""The GIL meter of libbusy (busy_gil.h) by ctypes: for CPython 2.7 and 3.x, where the compiled module can't be had.

This is all that a meter must offer to `_verdict`; another one may stand in its place.
"""

import ctypes
import itertools

_U32, _U64, _SIZE = ctypes.c_uint32, ctypes.c_uint64, ctypes.c_size_t
_GETTID = 186  # syscall(2); the meter serves x86-64 only


class _Totals(ctypes.Structure):
    """busy_gil_totals."""

    _fields_ = [
        ("size", _SIZE),
        ("gil", _U32),
        ("window", _U32),
        ("gils", _U32),
        ("metered", _U32),
        ("interpreter", ctypes.c_int64),
        ("at_ns", _U64),
        ("metered_ns", _U64),
        ("held_ns", _U64),
        ("waited_ns", _U64),
        ("acquisitions", _U64),
        ("voluntary_releases", _U64),
        ("forced_drops", _U64),
        ("longest_hold_ns", _U64),
        ("longest_wait_ns", _U64),
        ("session", _U64),
        ("unlisted_gils", _U64),
    ]


class _Thread(ctypes.Structure):
    """busy_gil_thread."""

    _fields_ = [
        ("tid", _U32),
        ("state", _U32),
        ("held_ns", _U64),
        ("waited_ns", _U64),
        ("acquisitions", _U64),
        ("waits", _U64),
        ("voluntary_releases", _U64),
        ("forced_drops", _U64),
        ("longest_hold_ns", _U64),
        ("longest_wait_ns", _U64),
    ]


class Meter(object):
    """The meter of the library at `path`, which counts the GIL of this process."""

    def __init__(self, path):
        # Calls that keep the GIL; PyPy has no such, and is refused by the library.
        self._library = library = getattr(ctypes, "PyDLL", ctypes.CDLL)(path)
        self._started = []
        library.busy_gil_snapshot.argtypes = [ctypes.c_void_p, ctypes.c_void_p, _SIZE, ctypes.c_void_p]
        library.busy_gil_window_open.argtypes = [ctypes.c_void_p]
        library.busy_gil_window_close.argtypes = [_U32]
        library.busy_gil_reason.argtypes = [ctypes.c_void_p, _SIZE]
        library.busy_gil_reason.restype = _SIZE

    def start(self):
        """Begins to count. RuntimeError, with the reason, if that can't be done here."""
        # Called and noted by one builtin: Ctrl-C comes before or after it.
        self._started.extend(itertools.starmap(self._library.busy_gil_start, [()]))
        if self._started[-1]:
            self._started.pop()
            text = ctypes.create_string_buffer(self._library.busy_gil_reason(None, 0))
            self._library.busy_gil_reason(text, len(text))
            raise RuntimeError(text.value.decode("utf-8", "replace"))

    def stop(self):
        """Takes one start back, if there was one."""
        if self._started:
            self._started.pop()
            self._library.busy_gil_stop()

    def snapshot(self, window=0):
        """What was counted since the start, or since the window was opened: (nanoseconds that it was counted for,
        {native thread id: row}). A row has held_ns, waited_ns, voluntary_releases, forced_drops, longest_hold_ns and
        longest_wait_ns."""
        totals, needed, capacity = _Totals(ctypes.sizeof(_Totals), 0, window), _SIZE(), 16
        while True:
            rows = (_Thread * capacity)()
            status = self._library.busy_gil_snapshot(
                ctypes.byref(totals), rows, capacity, ctypes.byref(needed)
            )
            if status:
                raise RuntimeError("busy_gil_snapshot: status %d" % status)
            if needed.value <= capacity:
                return totals.metered_ns, dict((row.tid, row) for row in rows[: needed.value])
            capacity = needed.value + 16

    def window(self):
        """Opens a stretch with counts of its own, which its `read` returns as `snapshot` does, until its `close`."""
        return _Window(self)

    def tid(self):
        """The native id of the calling thread."""
        return self._library.syscall(_GETTID)


class _Window(object):
    def __init__(self, meter):
        self._meter, number = meter, _U32()
        status = meter._library.busy_gil_window_open(ctypes.byref(number))
        if status:
            raise RuntimeError("busy_gil_window_open: status %d" % status)
        self._number = number.value

    def read(self):
        return self._meter.snapshot(self._number)

    def close(self):
        self._meter._library.busy_gil_window_close(self._number)
