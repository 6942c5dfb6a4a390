"""Threads that get the ids of ended ones, in as many watches as the second argument: no figure, name or CPU time
of a watch may be that of the former thread. Prints "reused", or "no right" if the system's latest thread id can't be
set."""

import signal
import sys
import threading
import time
from pathlib import Path

import busy
from meter import end_if_stuck

WATCHES = int(sys.argv[2])
LATEST = Path("/proc/sys/kernel/ns_last_pid")
# The former thread's holds are longer than the latter's whole life may be on a loaded machine.
FORMER_S, LATTER_S = 0.02, 0.001


def run(name, function):
    """Runs a thread to its end, and returns its id. The system can use the id again then."""
    thread = threading.Thread(target=function, name=name)
    thread.start()
    tid = thread.native_id
    thread.join()
    while Path("/proc/self/task", str(tid)).exists():
        time.sleep(0.0001)
    return tid


def spin(name, seconds):
    """Holds the GIL, and notes the CPU time of it: the hypervisor may have taken most of the time."""
    before = time.thread_time()
    busy.with_lock(seconds)
    spent[name] = time.thread_time() - before


def latter():
    with busy.watch() as w:
        spin("latter", LATTER_S)
    watches.append(w)


def check(tid, outer):
    inner = watches.pop()
    # Each figure of the inner watch is within its duration.
    own = inner.threads[tid]
    assert own.name == "latter", own
    assert LATTER_S <= own.held_s <= inner.wall_s + 1e-9 and own.waited_s <= inner.wall_s, (own, inner.wall_s)
    assert own.longest_hold_s <= own.held_s + 1e-9 and own.longest_wait_s <= own.waited_s + 1e-9, own
    assert own.cpu_s <= inner.wall_s + 1e-5 and own.run_delay_s <= inner.wall_s, own
    assert spent["latter"] - 1e-5 <= own.cpu_s, (own, spent)
    assert 0 not in inner.threads, inner
    # In the outer one, the former thread is the sum of the ended ones.
    former, own = outer.threads[0], outer.threads[tid]
    assert own.name == "latter" and former.name is None, outer
    assert former.longest_hold_s >= FORMER_S and former.cpu_s >= spent["former"] - 1e-5, (outer, spent)
    assert LATTER_S <= own.held_s and own.cpu_s < outer.wall_s - FORMER_S / 2, outer
    held = sum(thread.held_s for thread in outer.threads.values())
    assert abs(held - outer.held_share * outer.wall_s) < 1e-6, outer


end_if_stuck()
watches, spent, met = [], {}, 0
# Another process may take the id first.
while met < WATCHES:
    with busy.watch() as outer:
        tid = run("former", lambda: spin("former", FORMER_S))
        try:
            LATEST.write_text(str(tid - 1))
        except OSError:
            print("no right")
            sys.exit()
        again = run("latter", latter)
    if again == tid:
        check(tid, outer)
        met += 1
        signal.alarm(60)
    watches.clear()
print("reused")
