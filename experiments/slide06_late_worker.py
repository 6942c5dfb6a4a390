"""Slides 6-7: a pool that was made before its worker function exists loses tasks, and its map never returns.

usage: slide06_late_worker.py CASE SECONDS, with CASE a start method of multiprocessing, where the function is defined
inside the main guard; one but fork with -module, where it is defined at module level; or unguarded, the talk's script
as it stands, with the start method that this Python takes by itself

A task tells that it was done through a file of its own, since the map doesn't.
"""

import multiprocessing
import os
import re
import sys
import time

from bounded import end, nameless, now, report, start, text
from reporting import Skip, main

WORKERS, TASKS = 4, 10
# The latter two run the script anew in the workers, but for what the main guard keeps from them.
METHODS = ("fork", "forkserver", "spawn")
# Where the tasks report to, for every process that is to come.
REPORTS = "BUSY_LATE_WORKER_REPORTS"
# After the last task is done or lost, a map that is to return does so within this.
GRACE_S = 1
# A task or a worker that has not come by then doesn't.
PATIENCE_S = 30
# More than this is written by a script that goes on without end.
MOST_OUTPUT = 200000


def tasks_done():
    return set(map(int, text(reports).split()))


def metrics(died, settled, hung):
    """`settled`: every task was done or cost a worker its life."""
    done = tasks_done()
    # The message of some begins on the next line, indented; that of others ends with the module's path.
    said = re.search(r"^\w+Error:.*(?:\n {8}\S.*)*", text(errors), re.MULTILINE)
    error = " ".join(said.group().split()).split(" on <module")[0] if said else None
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
            # The pool replaces those that died ten times a second at the most, so none is missed.
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
    """Until all has `ended`; but no longer than `grace_s` after every task was done or lost. True if all were."""
    give_up, settled = now() + PATIENCE_S, False
    while not ended() and now() < give_up:
        if not settled and died() + len(tasks_done()) >= TASKS:
            settled = True
            give_up = now() + grace_s
        if os.fstat(errors.fileno()).st_size > MOST_OUTPUT:
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
    """Runs the script in a session of its own, until it ends, or hangs, or goes on and on."""
    file, path = nameless()
    file.write(UNGUARDED.encode("ascii"))
    file.flush()
    began = now()
    child = start([sys.executable, path], errors)
    # Time to tell a script that hangs from one that starts new workers on and on.
    settled = watch(lambda: child.poll() is not None, tracebacks, max(GRACE_S, seconds))
    hung = child.poll() is None
    took = now() - began
    end(child)
    found = metrics(tracebacks(), settled, hung)
    method = multiprocessing.get_start_method() if hasattr(multiprocessing, "get_start_method") else "fork"
    found.update(start_method=method, exit_code=None if hung else child.returncode, watched_s=took)
    return found


def tracebacks():
    """As many as processes have died of an exception."""
    return text(errors).count("Traceback (most recent call last)")


if __name__ == "__main__":
    reports, os.environ[REPORTS] = nameless()
    errors, _ = nameless()
    told = os.dup(2)
    os.dup2(errors.fileno(), 2)
    # Before either of the workers below is there.
    pool = make_pool(sys.argv[1] if sys.argv[1:] else "")


def at_module_level(i):
    report(os.environ[REPORTS], str(i))


if __name__ == "__main__":

    def in_main_guard(i):
        report(os.environ[REPORTS], str(i))

    cases = {"unguarded": unguarded}
    for method in METHODS[1:]:
        cases[method + "-module"] = mapped(at_module_level)
    for method in METHODS:
        cases[method] = mapped(in_main_guard)
    try:
        main(cases)
    finally:
        os.dup2(told, 2)
