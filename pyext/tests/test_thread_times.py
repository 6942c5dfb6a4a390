"""busy.thread_times: the calling thread's own hold and wait."""

import os
import subprocess
import sys
import threading
import time

import busy
import pytest

if not getattr(sys, "_is_gil_enabled", lambda: True)():
    pytest.skip("there is no GIL to meter in this interpreter", allow_module_level=True)


def spent(function):
    """Returns how long the calling thread held the GIL and waited for it during a call."""
    before = busy.thread_times()
    function()
    after = busy.thread_times()
    return after.held_s - before.held_s, after.waited_s - before.waited_s


def test_a_hold_counts_and_a_released_wait_does_not():
    held, _ = spent(lambda: busy.with_lock(0.1))
    assert 0.1 <= held < 0.2
    held, _ = spent(lambda: busy.without_lock(0.1))
    assert held < 0.1


def test_a_thread_has_its_own_times():
    found = []

    def wait_for_the_gil():
        gate.wait()
        found.append(spent(lambda: busy.without_lock(0.05)))

    gate = threading.Barrier(2)
    thread = threading.Thread(target=wait_for_the_gil)
    thread.start()
    gate.wait()
    time.sleep(0.002)
    busy.with_lock(0.2)
    thread.join()
    [(held, waited)] = found
    assert held < 0.1 and waited > 0.1, found


def test_the_times_never_fall_even_if_watches_come_and_go():
    times = [busy.thread_times()]
    for _ in range(3):
        with busy.watch():
            times.append(busy.thread_times())
        times.append(busy.thread_times())
    assert times == sorted(times) and len(set(times)) == len(times)


def test_the_waited_time_never_falls_although_the_clocks_rate_is_averaged_anew():
    busy.thread_times()
    holder = threading.Thread(target=lambda: (time.sleep(0.01), busy.with_lock(0.1)))
    holder.start()
    time.sleep(0.02)
    holder.join()
    waited = [busy.thread_times().waited_s for _ in range(20_000)]
    assert waited[0] > 0.02 and waited == sorted(waited)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork(2)")
def test_in_a_forked_child_the_times_begin_at_the_fork():
    code = """
import busy, os
busy.thread_times()
busy.with_lock(0.1)
assert busy.thread_times().held_s >= 0.1
child = os.fork()
if child == 0:
    os._exit(0 if 0 <= busy.thread_times().held_s < 0.05 else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, timeout=60)
