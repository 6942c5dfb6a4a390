"""The GIL meter of libbusy (busy_gil.h) through ctypes, for interpreters without the compiled module.

`Meter` is the interface of a meter that `_verdict` expects: another class with the same methods may replace it.

Serves CPython 2.7 and 3.x, and needs only the standard library and libbusy.
"""

import ctypes
import itertools

if __name__.startswith("busy."):
    from busy._refusal import NotMetered
else:
    from _refusal import NotMetered

_U32, _U64, _SIZE = ctypes.c_uint32, ctypes.c_uint64, ctypes.c_size_t
_REFUSED = 11  # BUSY_GIL_REFUSED
_GETTID = 186  # syscall(2); the meter supports x86-64 only


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
        ("unlisted_threads", _U64),
    ]


class _Thread(ctypes.Structure):
    """busy_gil_thread."""

    _fields_ = [
        ("id", _U64),
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
    """Meters the GIL of this process with the libbusy at `path`."""

    def __init__(self, path):
        # PyDLL holds the GIL during a call. PyPy has no PyDLL, and the library refuses PyPy.
        self._library = library = getattr(ctypes, "PyDLL", ctypes.CDLL)(path)
        self._started = []
        library.busy_gil_snapshot.argtypes = [ctypes.c_void_p, ctypes.c_void_p, _SIZE, ctypes.c_void_p]
        library.busy_gil_window_open.argtypes = [ctypes.c_void_p]
        library.busy_gil_window_close.argtypes = [_U32]
        library.busy_gil_reason.argtypes = [ctypes.c_void_p, _SIZE]
        library.busy_gil_reason.restype = _SIZE

    def start(self):
        """Starts the meter. Raises NotMetered, with the reason, if the GIL cannot be metered."""
        # One builtin both calls and records the call, so that Ctrl-C comes either before or after the two.
        self._started.extend(itertools.starmap(self._library.busy_gil_start, [()]))
        if self._started[-1]:
            self._started.pop()
            raise NotMetered(self._reason())

    def _reason(self):
        text = ctypes.create_string_buffer(self._library.busy_gil_reason(None, 0))
        self._library.busy_gil_reason(text, len(text))
        return text.value.decode("utf-8", "replace")

    def stop(self):
        """Undoes one `start`, if there was one."""
        if self._started:
            self._started.pop()
            self._library.busy_gil_stop()

    def snapshot(self, window=0):
        """Returns (metered nanoseconds, {native thread id: row}) since the start, or since the window was opened. A row
        has held_ns, waited_ns, voluntary_releases, forced_drops, longest_hold_ns and longest_wait_ns. If the system has
        reused a thread id, the row is that of the latest thread."""
        totals, needed, capacity = _Totals(ctypes.sizeof(_Totals), 0, window), _SIZE(), 16
        while True:
            rows = (_Thread * capacity)()
            status = self._library.busy_gil_snapshot(
                ctypes.byref(totals), rows, capacity, ctypes.byref(needed)
            )
            if status == _REFUSED:
                raise NotMetered(self._reason())
            if status:
                raise RuntimeError("busy_gil_snapshot: status %d" % status)
            if needed.value <= capacity:
                return totals.metered_ns, dict((row.tid, row) for row in rows[: needed.value])
            capacity = needed.value + 16

    def window(self):
        """Opens a window with totals of its own. Its `read` returns them as `snapshot` does; `close` ends it."""
        return _Window(self)

    def tid(self):
        """Returns the native id of the calling thread."""
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
