"""Runs a random life of a metered program, from the seed in the second argument: threads start and end, hold the GIL,
release it and fail; windows and starts are nested; there are forks and Ctrl-C. The accounts must always add up."""

import os
import random
import sys
import threading
import time
import traceback

from lives import in_a_child, interrupted
from meter import (
    HELD,
    RELEASED,
    close,
    histograms,
    rows,
    snapshot,
    start,
    stop,
    tid,
    wait,
    window,
)

chance = random.Random(int(sys.argv[2]))
errors = []


def check(window_number=0, library=HELD, gil=0):
    totals, threads = rows(gil, window_number, library, 2048)
    sums = [
        sum(getattr(row, name) for row in threads)
        for name in ("held_ns", "waited_ns", "acquisitions", "voluntary_releases", "forced_drops")
    ]
    own = (
        totals.held_ns,
        totals.waited_ns,
        totals.acquisitions,
        totals.voluntary_releases,
        totals.forced_drops,
    )
    assert sums == list(own), (sums, own)
    # The held time is at most the metered time.
    assert totals.metered and totals.held_ns <= totals.metered_ns, (totals.held_ns, totals.metered_ns)
    assert totals.longest_hold_ns <= totals.held_ns and totals.longest_wait_ns <= totals.waited_ns
    holders = [row.tid for row in threads if row.state & 1]
    ids = [row.id for row in threads]
    assert ids == sorted(set(ids)), ids
    if library is HELD:
        assert holders == [tid()], (holders, tid())
        # The acquire of the hold that was current at the start, or at the fork, was not recorded.
        released = totals.voluntary_releases + totals.forced_drops
        assert totals.acquisitions == released, (totals.acquisitions, released)
    else:
        assert len(holders) <= 1
    return totals


def check_outer():
    before = check(outer)
    if has_histograms:
        holds, waits = histograms(outer)
        after = rows(0, outer)[0]
        # Each hold that has ended is counted, and each wait that has ended by an acquire: two of one acquire if the
        # wait for the hand-over was one of its own.
        least, most = [one.voluntary_releases + one.forced_drops for one in (before, after)]
        assert least <= sum(holds) <= most, (least, holds, most)
        assert sum(waits) <= 2 * after.acquisitions, (waits, after.acquisitions)


def fails(depth):
    try:
        if depth:
            fails(depth - 1)
        raise ValueError("as planned")
    finally:
        wait(RELEASED, 1000)


def do(chance, depth, kinds=9):
    what = chance.randrange(kinds)
    if what == 0:
        wait(HELD, chance.randrange(2000000))
    elif what == 1:
        wait(RELEASED, chance.randrange(2000000))
    elif what == 2:
        sum(range(chance.randrange(100000)))
    elif what == 3:
        time.sleep(chance.random() * 0.003)
    elif what == 4:
        try:
            fails(chance.randrange(4))
        except ValueError:
            pass
    elif what == 5:
        locks = [threading.Lock(), threading.Lock()]
        for lock in locks:
            lock.acquire()
            lock.acquire(False)
            lock.release()
    elif what == 6:
        check(library=chance.choice((HELD, RELEASED)))
    elif what == 7:
        start()
        check()
        stop()
    else:
        before, number = check(), window()
        if depth:
            do(chance, depth - 1)
        inside, after = check(number), check()
        assert inside.held_ns <= after.held_ns - before.held_ns + 1000
        assert inside.acquisitions <= after.acquisitions - before.acquisitions
        close(number)


def live(seed):
    """Runs three threads, of which two also start the meter."""
    chance = random.Random(seed)
    try:
        meters = chance.randrange(3)
        if meters:
            start()
        for _ in range(chance.randrange(1, 12)):
            do(chance, 3, 9 if meters else 6)
        if meters:
            stop()
    except BaseException:
        errors.append(traceback.format_exc())


def fork():
    before = check()

    def child():
        totals = check()
        assert totals.session > before.session and totals.at_ns - totals.metered_ns >= before.at_ns
        # The windows stay open, and begin anew too.
        check_outer()
        inside, whole = check(outer), check()
        assert inside.longest_hold_ns <= whole.longest_hold_ns + 1000, (
            inside.longest_hold_ns,
            whole.longest_hold_ns,
        )
        worker = threading.Thread(target=live, args=(chance.random(),))
        worker.start()
        worker.join()
        totals, threads = snapshot()
        # The forking thread and the worker.
        assert len(set(threads) - set((os.getpid(),))) <= 1, threads
        check()
        assert not errors, errors[0]

    in_a_child(child)


def begin():
    start()
    if has_histograms:
        assert HELD.busy_gil_histograms_keep() == 0
    return window()


has_histograms = chance.random() < 0.5
outer = begin()
threads = []
for _ in range(60):
    what = chance.randrange(11)
    if what < 4 and len(threads) < 6:
        thread = threading.Thread(target=live, args=(chance.random(),))
        thread.start()
        threads.append(thread)
    elif what < 5 and threads:
        threads.pop(chance.randrange(len(threads))).join()
    elif what == 5:
        fork()
    elif what == 6:
        # No starts and windows here, since Ctrl-C would leave them open.
        interrupted(chance, lambda: do(chance, 3, 7))
    elif what == 7:
        # Stop and start the meter, in any state of the other threads.
        close(outer)
        stop()
        wait(RELEASED, 100000)
        outer = begin()
    else:
        do(chance, 3)
    check_outer()
for thread in threads:
    thread.join()
check_outer(), check(), check(library=RELEASED)
close(outer)
stop()
assert not errors, errors[0]
print("lived")
