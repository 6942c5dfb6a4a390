"""Slides 6-7: a pool that is created before its worker function is defined loses tasks, and its map never returns.

usage: slide06_late_worker.py CASE SECONDS

CASE is one of
    fork, forkserver, spawn            a start method of multiprocessing; the function is defined inside the main guard
    forkserver-module, spawn-module    the same, but the function is defined at module level
    unguarded                          the talk's script unchanged, with the default start method of this Python

Each task reports its end through a temporary file, since the map does not return.
"""

import multiprocessing
import os
import re
import sys
import time

from bounded import append_line, now, read_text, start, temporary_file, terminate
from reporting import Skip, main

WORKERS, TASKS = 4, 10
# With forkserver and spawn, the workers run the script again, except for the code inside the main guard.
METHODS = ("fork", "forkserver", "spawn")
# The environment variable with the path of the report file, for all later processes.
REPORTS = "BUSY_LATE_WORKER_REPORTS"
# If the map returns at all, it does so within this time after the last task is done or lost.
GRACE_S = 1
# A task or a worker that has not appeared by then never does.
TIMEOUT_S = 30
# Only a script that starts workers endlessly writes more bytes than this.
MAX_OUTPUT = 200000


def tasks_done():
    return set(map(int, read_text(reports).split()))


def metrics(died, settled, hung):
    """`settled` is true if every task was done or killed its worker."""
    done = tasks_done()
    # Some messages begin on the next line, indented; others end with the path of the module.
    match = re.search(r"^\w+Error:.*(?:\n {8}\S.*)*", read_text(errors), re.MULTILINE)
    error = " ".join(match.group().split()).split(" on <module")[0] if match else None
    return {
        "tasks": TASKS,
        "done": len(done),
        "lost": TASKS - len(done),
        "lost_tasks": sorted(set(range(TASKS)) - done),
        "died": died,
        "settled": settled,
        "hung": hung,
        "error": error,
    }


def make_pool(case):
    method = case.split("-")[0]
    if method not in METHODS:
        return None
    if hasattr(multiprocessing, "get_context"):
        return multiprocessing.get_context(method).Pool(WORKERS)
    return multiprocessing.Pool(WORKERS) if method == "fork" else None


def mapped(worker):
    def run(_seconds):
        if pool is None:
            raise Skip("multiprocessing has no start method but fork before Python 3.4")
        answer = pool.map_async(worker, range(TASKS), chunksize=1)
        seen = {}

        def died():
            # The pool replaces dead workers at most ten times a second, so this misses none.
            seen.update((process.pid, process) for process in list(pool._pool))
            return sum(process.exitcode not in (None, 0) for process in seen.values())

        settled = watch(answer.ready, died, GRACE_S)
        hung = not answer.ready()
        deaths = died()
        pool.terminate()
        pool.join()
        return metrics(deaths, settled, hung)

    return run


def watch(ended, died, grace_s):
    """Waits until `ended` returns true, but at most `grace_s` after every task is done or lost.

    Returns true if every task was.
    """
    deadline, settled = now() + TIMEOUT_S, False
    while not ended() and now() < deadline:
        if not settled and died() + len(tasks_done()) >= TASKS:
            settled = True
            deadline = now() + grace_s
        if os.fstat(errors.fileno()).st_size > MAX_OUTPUT:
            break
        time.sleep(0.01)
    return settled or ended()


UNGUARDED = """
import multiprocessing, os

pool = multiprocessing.Pool(%d)

def worker(i):
    file = os.open(os.environ["%s"], os.O_WRONLY | os.O_APPEND)
    os.write(file, (str(i) + "\\n").encode("ascii"))
    os.close(file)

pool.map(worker, range(%d), 1)
""" % (WORKERS, REPORTS, TASKS)


def unguarded(seconds):
    """Runs the script in a session of its own until it exits, hangs, or turns out to start workers endlessly."""
    file, path = temporary_file()
    file.write(UNGUARDED.encode("ascii"))
    file.flush()
    started_at = now()
    child = start([sys.executable, path], errors)
    # Long enough to distinguish a script that hangs from one that starts new workers endlessly.
    settled = watch(lambda: child.poll() is not None, tracebacks, max(GRACE_S, seconds))
    hung = child.poll() is None
    took = now() - started_at
    terminate(child)
    found = metrics(tracebacks(), settled, hung)
    method = multiprocessing.get_start_method() if hasattr(multiprocessing, "get_start_method") else "fork"
    found.update(start_method=method, exit_code=None if hung else child.returncode, watched_s=took)
    return found


def tracebacks():
    """Returns the number of processes that died of an exception."""
    return read_text(errors).count("Traceback (most recent call last)")


if __name__ == "__main__":
    reports, os.environ[REPORTS] = temporary_file()
    errors, _ = temporary_file()
    stderr = os.dup(2)
    os.dup2(errors.fileno(), 2)
    # The pool is created before the worker functions below are defined.
    pool = make_pool(sys.argv[1] if sys.argv[1:] else "")


def at_module_level(i):
    append_line(os.environ[REPORTS], str(i))


if __name__ == "__main__":

    def in_main_guard(i):
        append_line(os.environ[REPORTS], str(i))

    cases = {"unguarded": unguarded}
    for method in METHODS[1:]:
        cases[method + "-module"] = mapped(at_module_level)
    for method in METHODS:
        cases[method] = mapped(in_main_guard)
    try:
        main(cases)
    finally:
        os.dup2(stderr, 2)
