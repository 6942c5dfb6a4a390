"""The duration of a wait, and its count."""

import threading
import time
from fractions import Fraction

import pytest


# The durations are on both sides of 10 ms, since only longer waits check for signals.
@pytest.mark.parametrize("seconds", [1e-9, 1e-6, 0.001, 0.0099, 0.0101, 0.05])
def test_never_ends_early(wait, seconds):
    for _ in range(5):
        start = time.monotonic_ns()
        wait(seconds)
        assert time.monotonic_ns() - start >= Fraction(seconds) * 10**9


def test_the_count_grows_with_the_duration(wait):
    assert wait(0) == 0
    assert 0 < wait(0.002) < wait(0.2)


def test_many_threads_wait_at_once(wait):
    found = {}

    def run(number):
        start = time.monotonic_ns()
        count = wait(0.1)
        found[number] = count, time.monotonic_ns() - start

    threads = [threading.Thread(target=run, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [0, 1, 2, 3]
    for count, elapsed in found.values():
        assert count > 0
        assert elapsed >= 100_000_000
