"""Calls c/gil_generator.c, which holds and releases the GIL for known times, in CPython 2.7 and 3.x."""

import ctypes

_U64 = ctypes.c_uint64
# The interpreter needs less between two clock reads, unless it loses its CPU.
TORN_NS = 1000000
# While a truth is torn, a measurement is repeated, this often.
TRIES = 10


class Truth(ctypes.Structure):
    """What one thread has done: the struct gil_truth, which explains the fields."""

    _fields_ = [
        (name, _U64) for name in "pairs releasing_ns away_ns acquiring_ns torn longest_hold_ns".split()
    ] + [("acquired_ns", _U64 * 2), ("extra_ns", _U64)]

    def begin(self, before_ns, after_ns):
        """Begins the first hold between the two times."""
        self.acquired_ns[:] = before_ns, after_ns
        self.torn += after_ns - before_ns > TORN_NS

    def end(self, before_ns, after_ns):
        """Ends the last hold between the two times."""
        hold_ns = (before_ns + after_ns - sum(self.acquired_ns)) // 2
        self.longest_hold_ns = max(self.longest_hold_ns, hold_ns)
        self.torn += after_ns - before_ns > TORN_NS

    def error_ns(self, released_ns):
        """Returns how far a meter is from the truth that reports `released_ns` without the GIL. A release and an
        acquire count as in the middle of their clock reads."""
        return abs(released_ns - self.away_ns - (self.releasing_ns + self.acquiring_ns) / 2.0)

    def longest_hold_error_ns(self, longest_hold_ns):
        """Returns how far a meter is from the truth that reports this longest hold."""
        return abs(longest_hold_ns - self.longest_hold_ns)

    def uncertainty_ns(self):
        """Returns by how much, on average, the time of a release or an acquire may be wrong."""
        return (self.releasing_ns + self.acquiring_ns) / 4.0 / self.pairs


class Generator(object):
    def __init__(self, path):
        # PyDLL leaves the GIL held during a call.
        library = ctypes.PyDLL(path)
        self.now_ns, self._generate = library.now, library.generate
        self.now_ns.argtypes, self.now_ns.restype = [], _U64
        self._generate.argtypes = [ctypes.c_void_p, _U64, _U64, _U64, ctypes.c_int]
        self._generate.restype = None

    def generate(self, truth, hold_ns, release_ns, pairs, asleep=False):
        """Holds the GIL for `hold_ns` and releases it for `release_ns`, `pairs` times, and adds this to `truth`. The
        first hold begins with the latest acquire."""
        self._generate(ctypes.addressof(truth), hold_ns, release_ns, pairs, asleep)
