"""Holds of known length, for the tests of several copies of busy and of other tools that redirect the same calls."""

import ctypes
import shutil
import sys
import time

import meter

ROUNDS = 20
HOLD_NS, RELEASE_NS = 400000, 200000
IS_SEMAPHORE = sys.version_info < (3,)
if IS_SEMAPHORE:
    # No forced drops: during one, another process may take the CPU, and the GIL is free for an unknown time.
    sys.setcheckinterval(2**31 - 1)
FUNCTION = b"sem_post" if IS_SEMAPHORE else b"pthread_cond_signal"


class Copy(object):
    """A copy of libbusy, with the calls of the module `meter`."""

    def __init__(self, path):
        self.library, self.windows = ctypes.PyDLL(path), []
        self.library.busy_gil_snapshot.argtypes = [
            ctypes.c_void_p,
            ctypes.c_void_p,
            meter.size_t,
            ctypes.c_void_p,
        ]
        self.library.busy_gil_reason.argtypes = [ctypes.c_void_p, meter.size_t]
        self.library.busy_gil_reason.restype = meter.size_t

    def start(self):
        status = self.library.busy_gil_start()
        assert status == meter.OK, (status, self.reason())

    def stop(self):
        assert self.library.busy_gil_stop() == meter.OK

    def open(self):
        number = meter.u32()
        assert self.library.busy_gil_window_open(ctypes.byref(number)) == meter.OK
        return number.value

    def close(self, number):
        assert self.library.busy_gil_window_close(number) == meter.OK

    def read(self, number):
        """Returns the status and the totals."""
        totals = meter.Totals(ctypes.sizeof(meter.Totals), 0, number)
        return self.library.busy_gil_snapshot(ctypes.byref(totals), None, 0, None), totals

    def reason(self):
        text = ctypes.create_string_buffer(self.library.busy_gil_reason(None, 0))
        self.library.busy_gil_reason(text, len(text))
        return text.value.decode()


def copies(folder, names):
    """Returns libbusy itself and copies of its file, which the dynamic linker loads apart."""
    paths = [sys.argv[1]]
    for name in names:
        paths.append("{}/{}.so".format(folder, name))
        shutil.copy(sys.argv[1], paths[-1])
    return [Copy(path) for path in paths]


def load():
    """Releases the GIL a known number of times. Returns the least and the most nanoseconds for which it was released:
    the time of the waits themselves, and of the calls, which a busy machine makes longer."""
    least = most = 0
    for _ in range(ROUNDS):
        meter.wait(meter.HELD, HOLD_NS)
        before = time.time()
        least += meter.wait(meter.RELEASED, RELEASE_NS)
        most += (time.time() - before) * 1e9
    return least, most


def check(totals, released, what):
    """Compares the totals of a window around `load()` with the truth."""
    held = totals.held_ns / float(totals.metered_ns)
    most, least = (1 - ns / float(totals.metered_ns) for ns in released)
    counted = totals.acquisitions, totals.voluntary_releases + totals.forced_drops
    assert counted == (ROUNDS, ROUNDS), (what, counted)
    assert totals.forced_drops == 0, (what, totals.forced_drops)
    assert least - 0.002 < held < most + 0.002, (what, least, held, most)
    return abs(held - most)


class Patcher(object):
    """patcher.c, which counts CPython's calls of FUNCTION."""

    def __init__(self, path):
        self.library = ctypes.PyDLL(path)
        self.library.install.argtypes = [ctypes.c_size_t, ctypes.c_char_p]
        self.library.seen.restype = ctypes.c_ulong
        self.save_thread = ctypes.cast(ctypes.pythonapi.PyEval_SaveThread, ctypes.c_void_p).value

    def install(self):
        assert self.library.install(self.save_thread, FUNCTION) > 0

    def uninstall(self, is_forced=0):
        return self.library.uninstall(is_forced)

    def seen(self):
        return self.library.seen()

    def sees(self, body):
        """Calls `body`, during which the patcher must see the calls of `load()`."""
        before = self.seen()
        result = body()
        # A release and an acquire signal one cond each, and post one semaphore together.
        expected = ROUNDS if IS_SEMAPHORE else 2 * ROUNDS
        assert self.seen() - before >= expected, (self.seen() - before, expected)
        return result
