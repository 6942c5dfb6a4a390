"""The counters are the sums over all threads: beside snapshots while threads come and go, hold and wait, and exactly so
when all is quiet. They never fall, for readers with and without the GIL. A forked child begins with zeros."""

import ctypes
import os
import sys
import threading

from meter import BAD_OPTION, HELD, OFF, OK, RELEASED, i64, size_t, snapshot, start, stop, u32, u64, wait

# A thread that has lost its CPU while it recorded an event counts as holding or waiting until the record.
LATE_NS = 50000000


class Counters(ctypes.Structure):
    _fields_ = (
        [("size", size_t)]
        + [(name, u32) for name in ("gil", "gils", "metered", "waiting")]
        + [("interpreter", i64)]
        + [
            (name, u64)
            for name in (
                "session at_ns metered_ns held_ns waited_ns acquisitions forced_drops has_histograms".split()
            )
        ]
        + [("holds", u64 * 26), ("waits", u64 * 26)]
    )


FIGURES = ("held_ns", "waited_ns", "acquisitions", "forced_drops")


def counters(gil=0, library=HELD, status=OK):
    found = Counters(ctypes.sizeof(Counters), gil)
    assert library.busy_gil_counters_read(ctypes.byref(found)) == status, status
    return found


def figures(found):
    return [getattr(found, name) for name in FIGURES]


counters(status=OFF)
start()
first = counters()
assert (first.gil, first.gils, first.metered, first.interpreter, first.has_histograms) == (0, 1, 1, 0, 0)
assert first.session == snapshot()[0].session and first.held_ns <= first.metered_ns
assert list(first.holds) == list(first.waits) == [0] * 26
counters(1, status=BAD_OPTION)

over = []


def hold_and_release():
    for _ in range(20):
        wait(HELD, 200000)
        wait(RELEASED, 300000)


def come_and_go():
    while not over:
        short = threading.Thread(target=hold_and_release)
        short.start()
        short.join()


def read_on():
    before = counters(library=RELEASED)
    while not over:
        now = counters(library=RELEASED)
        assert all(one <= other for one, other in zip(figures(before), figures(now)))
        before = now
    read.append(True)


read = []
readers = [threading.Thread(target=read_on) for _ in range(3)]
threads = readers + [threading.Thread(target=come_and_go) for _ in range(4)]
for thread in threads:
    thread.start()
before = counters()
for _ in range(200):
    between = snapshot()[0]
    after = counters()
    for name, one, middle, other in zip(FIGURES, figures(before), figures(between), figures(after)):
        late = LATE_NS if name.endswith("_ns") else 8
        assert one <= other and one - late <= middle <= other + late, (name, one, middle, other)
    assert after.held_ns <= after.metered_ns and after.waiting <= len(threads) + 4
    before = after
    wait(RELEASED, 1000000)
over.append(True)
for thread in threads:
    thread.join()
assert len(read) == len(readers), "a reader saw a figure that fell"

# A thread of 2.7 acquires the GIL once more after it was joined (t_bootstrap in Modules/threadmodule.c).
while len(os.listdir("/proc/self/task")) > 1:
    wait(RELEASED, 1000000)

# The calling thread holds the GIL, and no other one waits for it. 2.7 releases the GIL in the middle of Python code.
assert HELD.busy_gil_histograms_keep() == OK
RELEASED.busy_gil_histograms_keep()
total, sums = snapshot()[0], counters()
if sys.version_info >= (3,):
    assert (sums.acquisitions, sums.forced_drops) == (total.acquisitions, total.forced_drops)
assert sums.waiting == 0 and 0 <= sums.acquisitions - total.acquisitions < 100
assert abs(sums.waited_ns - total.waited_ns) <= 1000, (sums.waited_ns, total.waited_ns)
released_ns = sums.at_ns - total.at_ns - (sums.held_ns - total.held_ns)
assert -1000 <= released_ns <= (1000 if sys.version_info >= (3,) else LATE_NS), released_ns
assert total.waited_ns > 0 and sums.has_histograms
# Long enough that no hold is as long because its thread has lost its CPU.
wait(HELD, 100000000)
wait(RELEASED, 1000)
assert sum(counters().holds[17:]) == 1, list(counters().holds)

child = os.fork()
if child == 0:
    young = counters()
    assert young.session > sums.session and young.held_ns < LATE_NS and young.waited_ns == 0
    assert young.acquisitions < 100 and sum(young.holds) < 100, (young.acquisitions, list(young.holds))
    wait(HELD, 60000000)
    assert counters().held_ns >= 60000000
    sys.stdout.flush()
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
assert counters().session == sums.session and counters().held_ns > sums.held_ns
stop()
counters(status=OFF)
print("sums")
