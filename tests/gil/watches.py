"""Runs a random life of watches, from the seed in the second argument: nested, in threads that start and end, left by
exceptions and by Ctrl-C, in forked children. The figures of each watch must be consistent, and none may stay open."""

import contextlib
import random
import sys
import threading
import time
import traceback

import busy
from lives import in_a_child, interrupted
from meter import end_if_stuck

MOST = 16
# The maximum time between the reads of two clocks.
SLACK_S = 0.001
chance = random.Random(int(sys.argv[2]))
errors = []


def check(watch, outer=None):
    assert -1e-9 <= watch.held_share <= 1 + 1e-9, watch.held_share
    held = sum(thread.held_s for thread in watch.threads.values())
    assert abs(held - watch.held_share * watch.wall_s) < 1e-6, (held, watch.held_share, watch.wall_s)
    for thread in watch.threads.values():
        assert 0 <= thread.longest_hold_s <= thread.held_s + 1e-9, thread
        assert 0 <= thread.longest_wait_s <= thread.waited_s + 1e-9, thread
        assert thread.held_s + thread.waited_s <= watch.wall_s + SLACK_S, (thread, watch.wall_s)
        assert thread.cpu_s is None or thread.cpu_s >= 0, thread
    own = watch.threads[threading.get_native_id()]
    assert own.held_s > 0 and own.name == threading.current_thread().name, own
    if outer:
        assert watch.wall_s <= outer.wall_s
        assert own.held_s <= outer.threads[threading.get_native_id()].held_s + 1e-9


def watched(chance, depth):
    outer, inner = busy.watch(), busy.watch()
    try:
        with outer, inner:
            do(chance, depth - 1)
    finally:
        # Ctrl-C may have arrived before the first watch was open.
        if hasattr(inner, "wall_s") and hasattr(outer, "wall_s"):
            check(inner, outer)


@busy.watch()
def decorated(chance, depth):
    do(chance, depth - 1)


def do(chance, depth):
    what = chance.randrange(8)
    if what == 0:
        busy.with_lock(chance.random() * 0.002)
    elif what == 1:
        busy.without_lock(chance.random() * 0.002)
    elif what == 2:
        time.sleep(chance.random() * 0.002)
    elif what == 3:
        sum(range(chance.randrange(100_000)))
    elif what == 4:
        raise ValueError("as planned")
    elif depth and what == 5:
        decorated(chance, depth)
    elif depth:
        watched(chance, depth)


def live(seed):
    chance = random.Random(seed)
    try:
        for _ in range(chance.randrange(1, 8)):
            surviving(chance, 2)
    except BaseException:
        errors.append(traceback.format_exc())


def surviving(chance, depth):
    with contextlib.suppress(ValueError):
        do(chance, depth)


def child():
    live(chance.random())
    assert not errors, errors[0]


end_if_stuck()
threads = []
for _ in range(40):
    what = chance.randrange(8)
    if what < 2 and len(threads) < 2:
        thread = threading.Thread(target=live, args=(chance.random(),))
        thread.start()
        threads.append(thread)
    elif what < 3 and threads:
        threads.pop(chance.randrange(len(threads))).join()
    elif what == 3:
        in_a_child(child)
    elif what == 4:
        interrupted(chance, lambda: surviving(chance, 3))
    else:
        surviving(chance, 3)
for thread in threads:
    thread.join()
assert not errors, errors[0]
with contextlib.ExitStack() as stack:
    for _ in range(MOST):
        stack.enter_context(busy.watch())
assert type(threading._active) is dict, "threading is as it was"
print("lived")
