"""Runs a random life of a program that has loaded two copies of libbusy: the second argument is the path of the other
one, the third is the seed. Threads start and stop the meter of either copy, in any order, and open windows in both.
There are forks. Each figure must be right, or the start must be refused with a reason that names busy."""

import importlib
import os
import random
import sys
import threading
import time
import traceback

from lives import in_a_child

OTHER, SEED = sys.argv[2], int(sys.argv[3])


def meter_of(path):
    """Returns the module `meter` for the libbusy at `path`."""
    sys.argv[1] = path
    # 2.7 clears a module to which nothing refers any more; `lives` uses its functions.
    kept.append(sys.modules.pop("meter"))
    return importlib.import_module("meter")


kept = []
COPIES = (meter_of(sys.argv[1]), meter_of(OTHER))
errors, refusals, measured = [], [], []


class Running(object):
    """The meter of `copy`, once it is running. `is_on` is False if the start was refused."""

    def __init__(self, copy):
        self.copy, status = copy, copy.HELD.busy_gil_start()
        self.is_on = status == copy.OK
        if not self.is_on:
            assert status == copy.REFUSED and "busy" in copy.reason(), (status, copy.reason())
            refusals.append(copy.reason())

    def stop(self):
        if self.is_on:
            self.copy.stop()


def hold_and_release(chance, own):
    """Holds and releases the GIL for known times. Returns the held and the released time, and the number of releases.
    `own` may be either copy: the waits do not belong to the meter."""
    held_ns = released_ns = 0
    rounds = chance.randrange(1, 5)
    for _ in range(rounds):
        held_ns += own.wait(own.HELD, chance.randrange(100000, 1000000))
        released_ns += own.wait(own.RELEASED, chance.randrange(10000, 1000000))
    return held_ns, released_ns, rounds


def check(chance, running):
    """Opens a window in each running copy. Their figures for this thread must agree with what it does meanwhile."""
    windows = [(each.copy, each.copy.window()) for each in running if each.is_on]
    held_ns, released_ns, rounds = hold_and_release(chance, chance.choice(COPIES))
    for copy, number in windows:
        totals, threads = copy.snapshot(window=number)
        copy.close(number)
        row = threads[copy.tid()]
        figures = [(name, getattr(row, name)) for name, _ in row._fields_]
        known = "held {}, released {}, {} releases of {} ns".format(
            held_ns, released_ns, rounds, totals.metered_ns
        )
        assert held_ns - 20000 <= row.held_ns <= totals.metered_ns - released_ns + 20000, (known, figures)
        assert row.voluntary_releases >= rounds and row.acquisitions >= rounds, (known, figures)
        assert totals.held_ns <= totals.metered_ns, (known, figures)
        measured.append(copy)


def use_both(chance):
    """Starts each copy or not, in any order, checks the figures at any time, and stops them in any order."""
    running = []
    try:
        for copy in chance.sample(COPIES, len(COPIES)):
            if chance.random() < 0.7:
                running.append(Running(copy))
            if chance.random() < 0.5:
                check(chance, running)
        while running:
            check(chance, running)
            running.pop(chance.randrange(len(running))).stop()
            time.sleep(chance.random() * 0.001)
    finally:
        for each in running:
            each.stop()


def live(seed):
    try:
        chance = random.Random(seed)
        for _ in range(chance.randrange(1, 6)):
            use_both(chance)
    except BaseException:
        errors.append(traceback.format_exc())


def fork(chance):
    outer = Running(chance.choice(COPIES))

    def child():
        check(chance, [outer])
        use_both(chance)
        # The parent's threads do not exist here.
        thread = threading.Thread(target=live, args=(chance.random(),))
        thread.start()
        thread.join()
        assert not errors, errors[0]

    in_a_child(child)
    outer.stop()


def main():
    chance, threads = random.Random(SEED), []
    for _ in range(20):
        what = chance.randrange(6)
        if what < 2 and len(threads) < 3:
            threads.append(threading.Thread(target=live, args=(chance.random(),)))
            threads[-1].start()
        elif what == 2:
            fork(chance)
        else:
            use_both(chance)
        assert not errors, errors[0]
    for thread in threads:
        thread.join()
    assert not errors, errors[0]
    assert measured, "no figure was checked"
    for copy in COPIES:
        assert copy.HELD.busy_gil_stop() == copy.OFF, "a start was not undone"


main()
print("lived: {} figures, {} refusals, process {}".format(len(measured), len(refusals), os.getpid()))
