"""A hold that makes another thread wait is reported as a stall, with its length, the waiting thread and the holder's
stack, also to a second copy of libbusy. A hold below the threshold, or one that makes nobody wait, is none."""

import ctypes
import os
import shutil
import sys
import tempfile
import threading
import time

from meter import HELD, OFF, OK, RELEASED, i64, size_t, start, stop, tid, u32, u64, wait

NULL_POINTER, CANCELLED, BAD_SIZE, BAD_OPTION, TIMED_OUT = 2, 1, 4, 8, 14
FOREVER = 2**64 - 1
# The semaphore of 2.7 does not have the holder.
HAS_STACKS = sys.version_info >= (3,)
MS = 1000000


class Stall(ctypes.Structure):
    _fields_ = (
        [("size", size_t), ("interpreter", i64)]
        + [(name, u64) for name in "id at_ns held_ns missed".split()]
        + [(name, u32) for name in "tid waiting has_stack listed".split()]
        + [("waiter_tids", u32 * 8), ("waiter_ns", u64 * 8)]
    )


class Copy(object):
    """A copy of libbusy."""

    def __init__(self, held, released):
        self.held, self.released = held, released
        for library in (held, released):
            library.busy_gil_stalls_open.argtypes = [u64, ctypes.c_void_p]
            library.busy_gil_stalls_next.argtypes = [ctypes.c_void_p, u64] + [ctypes.c_void_p] * 2 + [size_t]
            library.busy_gil_stalls_stop.argtypes = library.busy_gil_stalls_close.argtypes = [ctypes.c_void_p]

    def open(self, threshold_ns, status=OK):
        stalls = ctypes.c_void_p()
        found = self.held.busy_gil_stalls_open(threshold_ns, ctypes.byref(stalls))
        assert found == status, (found, status)
        return stalls

    def next(self, stalls, timeout_ns=FOREVER, size=None):
        stall = Stall(ctypes.sizeof(Stall) if size is None else size)
        text = ctypes.create_string_buffer(b"unwritten", 10000)
        status = self.released.busy_gil_stalls_next(stalls, timeout_ns, ctypes.byref(stall), text, len(text))
        return status, stall, text.value.decode("utf-8", "replace")

    def stop(self, stalls):
        assert self.held.busy_gil_stalls_stop(stalls) == OK

    def close(self, stalls):
        assert self.held.busy_gil_stalls_close(stalls) == OK


class Reading(object):
    """Reads stalls in a thread of its own."""

    def __init__(self, copy, threshold_ns):
        self.copy, self.stalls, self.found = copy, copy.open(threshold_ns), []
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        while True:
            status, stall, text = self.copy.next(self.stalls)
            if status == CANCELLED:
                return
            assert status == OK, status
            self.found.append((stall, text))

    def end(self):
        self.copy.stop(self.stalls)
        self.thread.join()
        self.copy.close(self.stalls)
        return self.found


def hold_the_gil(ns):
    holder.append(tid())
    wait(HELD, ns)


def hold_in_a_thread(ns):
    """Lets another thread hold the GIL, and waits for it."""
    del holder[:]
    thread = threading.Thread(target=hold_the_gil, args=(ns,))
    thread.start()
    while not holder:
        time.sleep(0.0005)
    thread.join()


def stalled(copy, hold_ns, threshold_ns):
    """Returns the stalls during a hold that this thread waits for."""
    reading = Reading(copy, threshold_ns)
    # The reader learns to read stacks first.
    time.sleep(0.3)
    hold_in_a_thread(hold_ns)
    time.sleep(0.1)
    return reading.end()


holder = []
own = Copy(HELD, RELEASED)
own.open(MS, OFF)
start()
own.open(MS - 1, BAD_OPTION)

# A short time-out, and a stop from another thread.
stalls = own.open(50 * MS)
assert own.next(stalls, 0)[0] == TIMED_OUT and own.next(stalls, 20 * MS)[0] == TIMED_OUT
assert own.next(stalls, 0, size=8)[0] == BAD_SIZE
# The object samples every 12.5 ms, but a shorter time-out ends earlier.
shortest = FOREVER
for _ in range(50):
    began = time.time()
    assert own.next(stalls, 0)[0] == TIMED_OUT
    shortest = min(shortest, (time.time() - began) * 1000 * MS)
assert shortest < 10 * MS, shortest
threading.Timer(0.1, own.stop, [stalls]).start()
assert own.next(stalls)[0] == CANCELLED and own.next(stalls)[0] == CANCELLED
own.close(stalls)

# A thread that is being cancelled closes the files of the object first.
child = os.fork()
if child == 0:
    start()
    stalls = own.open(50 * MS)
    assert own.next(stalls, 0)[0] == TIMED_OUT
    libc = ctypes.PyDLL(None)
    libc.pthread_self.restype = ctypes.c_void_p
    libc.pthread_cancel(ctypes.c_void_p(libc.pthread_self()))
    libc._exit(HELD.busy_gil_stalls_close(stalls))
assert os.waitpid(child, 0)[1] == 0

folder = tempfile.mkdtemp()
try:
    shutil.copy(sys.argv[1], os.path.join(folder, "second.so"))
    path = os.path.join(folder, "second.so")
    second = Copy(getattr(ctypes, "PyDLL", ctypes.CDLL)(path), ctypes.CDLL(path))
finally:
    shutil.rmtree(folder)
assert second.held.busy_gil_start() == OK
for copy in (own, second):
    for _ in range(10):
        found = stalled(copy, 200 * MS, 50 * MS)
        found = [(stall, text) for stall, text in found if stall.tid == holder[0]]
        # On a loaded machine, the thread that reads the stack may get no core.
        if found and (found[0][0].has_stack or not HAS_STACKS) and found[0][0].listed:
            break
    assert found, "no stall of the thread that held the GIL"
    stall, text = found[0]
    assert 200 * MS <= stall.held_ns < 2000 * MS and stall.interpreter == 0 and stall.missed == 0
    assert stall.waiting >= 1 and stall.listed >= 1, (stall.waiting, stall.listed)
    waits = dict(zip(stall.waiter_tids[: stall.listed], stall.waiter_ns[: stall.listed]))
    assert MS < waits[tid()] <= stall.held_ns, (waits, tid())
    lines = text.splitlines()
    if HAS_STACKS:
        assert stall.has_stack and "meter.py:" in lines[0] and lines[0].endswith(" wait"), text
        assert "stalls.py:" in lines[1] and lines[1].endswith(" hold_the_gil"), text
    else:
        assert not stall.has_stack and "thread state" in text, text

    assert not [one for one, _ in stalled(copy, 200 * MS, 2000 * MS) if one.tid == holder[0]]

assert second.held.busy_gil_stop() == OK


# Holds that are long only for another object neither hide stalls nor count as missed.
def hold_for_long_then_often():
    holder.append(tid())
    for _ in range(8):
        wait(HELD, 150 * MS)
        for _ in range(40):
            wait(RELEASED, 1000)
            wait(HELD, MS + MS // 50)
        time.sleep(0.05)


def waits():
    while not over:
        time.sleep(0.02)


for _ in range(4):
    readings, over = [Reading(own, threshold) for threshold in (100 * MS, MS)], []
    time.sleep(0.3)
    waiting, thread = [threading.Thread(target=target) for target in (waits, hold_for_long_then_often)]
    del holder[:]
    waiting.start()
    thread.start()
    thread.join()
    over.append(True)
    waiting.join()
    time.sleep(0.1)
    found, _ = [reading.end() for reading in readings]
    stalls = [stall for stall, _ in found if stall.tid == holder[0]]
    missed = sum(stall.missed for stall, _ in found)
    # On a loaded machine, the threads that look may get no core, or the one that waits does not wait.
    if len(stalls) == 8 and not missed:
        break
assert len(stalls) == 8 and not missed, (len(stalls), missed)

# Stalls that end while nobody asks for one have their stacks as well.
for _ in range(10):
    stalls = own.open(50 * MS)
    assert own.next(stalls, 0)[0] == TIMED_OUT
    for _ in range(2):
        hold_in_a_thread(200 * MS)
    found = [own.next(stalls, 1000 * MS) for _ in range(2)]
    assert [status for status, _, _ in found] == [OK, OK], found
    own.close(stalls)
    if not HAS_STACKS or all(stall.has_stack for _, stall, _ in found):
        break
else:
    raise AssertionError([text for _, _, text in found])

# A stall that was not asked for in time is not reported once the meter is off.
stalls = own.open(50 * MS)
assert own.next(stalls, 0)[0] == TIMED_OUT
hold_in_a_thread(200 * MS)
time.sleep(0.1)
stop()
assert own.next(stalls)[0] == OFF
own.close(stalls)
print("stalls")
