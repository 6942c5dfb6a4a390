"""with_lock holds the GIL, and without_lock releases it."""

import sys
import threading
import time

import busy
import pytest

pytestmark = pytest.mark.skipif(
    not getattr(sys, "_is_gil_enabled", lambda: True)(), reason="there is no GIL to hold in this interpreter"
)


class Counter(threading.Thread):
    """Counts in pure Python, as fast as possible."""

    def __init__(self, releases=False):
        super().__init__(daemon=True)
        self.releases = releases
        self.count = 0
        self.ended = False

    def run(self):
        while not self.ended:
            self.count += 1
            if self.releases:
                time.sleep(0)

    def during(self, wait, seconds):
        before = self.count
        wait(seconds)
        return self.count - before

    def __enter__(self):
        self.start()
        while not self.count:
            pass
        return self

    def __exit__(self, *_):
        self.ended = True
        self.join()


def test_with_lock_stops_another_python_thread_and_without_lock_does_not():
    with Counter() as other:
        held = other.during(busy.with_lock, 0.5)
        released = other.during(busy.without_lock, 0.5)
    print(f"the other thread counted {held} during with_lock, {released} during without_lock")
    # Beside with_lock it counts only in the switch intervals before and after, 5 ms each.
    assert held < released / 5


def test_they_do_so_on_another_thread_than_the_main_one_too():
    with Counter() as other:
        found = []

        def run():
            found.append(other.during(busy.with_lock, 0.5))
            found.append(other.during(busy.without_lock, 0.5))

        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
    held, released = found
    assert held < released / 5


def test_short_waits_hold_and_release_too():
    # The switch interval is so long that the other thread acquires the GIL only after a voluntary release.
    interval = sys.getswitchinterval()
    with Counter(releases=True) as other:
        sys.setswitchinterval(1000)
        try:
            # A wait for the GIL that began earlier still uses the old interval: take_gil() reads it at its start.
            while not other.during(time.sleep, 0.001):
                pass
            held = sum(other.during(busy.with_lock, 0.001) for _ in range(100))
            released = sum(other.during(busy.without_lock, 0.001) for _ in range(100))
        finally:
            sys.setswitchinterval(interval)
    assert held == 0
    assert released > 0
