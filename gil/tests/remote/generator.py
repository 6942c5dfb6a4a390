"""Alternately holds and releases the GIL for known times, which each line of stdin specifies.

argv: the path of libbusy
stdin: "<nanoseconds to hold> <nanoseconds to release> <seconds>"
stdout: "begin", "end" and "done", each with two times since "begin": the seconds that the GIL was held, and all seconds
"""

import ctypes
import sys
import time


class Result(ctypes.Structure):
    _fields_ = [("count", ctypes.c_uint64), ("elapsed_ns", ctypes.c_uint64)]


def waiter(library):
    wait = library.busy_wait_ns
    wait.argtypes = [ctypes.c_uint64, ctypes.c_void_p, ctypes.c_void_p]
    wait.restype = ctypes.c_int
    return wait


HOLD = waiter(ctypes.PyDLL(sys.argv[1]))
RELEASE = waiter(ctypes.CDLL(sys.argv[1]))
MARGIN = 0.02
CLOCK = getattr(time, "perf_counter", time.time)


def write(*words):
    sys.stdout.write(" ".join(str(word) for word in words) + "\n")
    sys.stdout.flush()


def generate(hold_ns, release_ns, seconds):
    """Holds and releases the GIL, also for a while before "begin" and after "end", so that these may be read late."""
    result = Result()
    pointer = ctypes.addressof(result)
    start = CLOCK()
    released_ns = 0
    marks = [
        (start + MARGIN, "begin"),
        (start + MARGIN + seconds, "end"),
        (start + 2 * MARGIN + seconds, "done"),
    ]
    while marks:
        if hold_ns:
            HOLD(hold_ns, None, pointer)
        if release_ns:
            RELEASE(release_ns, None, pointer)
            released_ns += result.elapsed_ns
        now = CLOCK()
        if now >= marks[0][0]:
            word = marks.pop(0)[1]
            if word == "begin":
                start, released_ns = now, 0
            write(word, now - start - released_ns * 1e-9, now - start)


def main():
    write("ready")
    while True:
        line = sys.stdin.readline()
        if not line:
            return
        hold_ns, release_ns, seconds = line.split()
        generate(int(hold_ns), int(release_ns), float(seconds))


main()
