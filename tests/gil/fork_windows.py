"""Forks with open windows, while other threads open, read and close windows, and while threads begin and end. A child's
windows begin at the fork, with nothing of the parent; those of threads that the child does not have are closed."""

import ctypes
import threading
import time

from lives import in_a_child
from meter import (
    BAD_OPTION,
    HELD,
    OK,
    RELEASED,
    Totals,
    close,
    rows,
    snapshot,
    start,
    stop,
    tid,
    wait,
    window,
)

MS = 1000000
# Of the parent, and far longer than a child's.
HOLD = 300 * MS


def is_open(number):
    totals = Totals(ctypes.sizeof(Totals), 0, number)
    return HELD.busy_gil_snapshot(ctypes.byref(totals), None, 0, None) == OK


def in_thread(function):
    thread = threading.Thread(target=function)
    thread.start()
    thread.join()


def child_of_a_long_hold():
    wait(HELD, 3 * MS)
    wait(RELEASED, MS)
    for number in (before, between, 0):
        totals, threads = rows(0, number)
        assert [row.tid for row in threads] == [tid()], [row.tid for row in threads]
        assert 3 * MS <= totals.longest_hold_ns < HOLD, (number, totals.longest_hold_ns)
        assert totals.longest_wait_ns < HOLD, (number, totals.longest_wait_ns)
        assert totals.longest_hold_ns <= totals.held_ns <= totals.metered_ns < 2000 * MS
    totals, threads = snapshot()
    in_thread(lambda: wait(HELD, 5 * MS))
    totals, threads = rows(0, before)
    assert 2 == len(threads) and 5 * MS <= threads[1].longest_hold_ns < HOLD


def child_of_other_threads_windows():
    assert [is_open(number) for number in others] == [False] * len(others)
    assert is_open(mine)
    again = [window() for _ in range(40)]
    assert len(set(again + [mine])) == 41 and all(map(is_open, again))
    # The number of a closed window is not given to another one.
    assert not set(others) & set(again), (others, again)
    assert [HELD.busy_gil_window_close(number) for number in others] == [BAD_OPTION] * len(others)
    assert not any(map(is_open, others)) and all(map(is_open, again))
    for number in again:
        close(number)


def child_of_ended_threads_windows():
    assert not any(map(is_open, others + [mine]))


def keep_busy():
    while not ended:
        number = window()
        wait(RELEASED, 1000)
        rows(0, number)
        close(number)


def begin_and_end():
    while not ended:
        in_thread(lambda: wait(HELD, 1000))


def child_of_busy_threads():
    number = window()
    wait(HELD, MS)
    wait(RELEASED, 1000)
    for _ in range(3):
        in_thread(lambda: wait(HELD, MS))
    totals, threads = rows(0, number)
    assert 4 * MS <= totals.held_ns <= totals.metered_ns, (totals.held_ns, totals.metered_ns)
    assert len(threads) == 4 and all(row.longest_hold_ns >= MS for row in threads), len(threads)
    close(number)


start()
before = window()
wait(HELD, HOLD)
between = window()
in_thread(lambda: wait(HELD, HOLD))
in_a_child(child_of_a_long_hold)
wait(RELEASED, MS)
in_a_child(child_of_a_long_hold)
wait(HELD, HOLD)
in_a_child(child_of_a_long_hold)

others, mine, go = [], window(), threading.Event()
opening = [threading.Thread(target=lambda: (others.append(window()), go.wait())) for _ in range(24)]
for thread in opening:
    thread.start()
while len(others) < len(opening):
    time.sleep(0.001)
in_a_child(child_of_other_threads_windows)
go.set()
for thread in opening:
    thread.join()
assert all(map(is_open, others))
# The new thread has the thread control block of one that has ended.
passed = []
in_thread(lambda: passed.append(in_a_child(child_of_ended_threads_windows)))
assert passed

ended = []
busy = [threading.Thread(target=target) for target in (keep_busy, keep_busy, begin_and_end)]
for thread in busy:
    thread.start()
for _ in range(40):
    time.sleep(0.001)
    in_a_child(child_of_busy_threads)
ended.append(True)
for thread in busy:
    thread.join()
stop()
print("forked")
