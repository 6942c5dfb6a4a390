"""Slide 5: the assignment of tasks to the workers of a pool differs from round to round. The results do not.

usage: slide05_pool.py CASE SECONDS

CASE is a start method of multiprocessing.
"""

import multiprocessing
import os
import time

from reporting import Skip, main

WORKERS, TASKS, ROUNDS = 4, 10, 10


def task(i):
    """Sleeps long enough for every worker to receive a task."""
    time.sleep(0.002)
    return os.getpid(), os.getppid(), i


def rounds(start_method):
    def run(_seconds):
        pool = context(start_method).Pool(WORKERS)
        try:
            found = [pool.map(task, range(TASKS), chunksize=1) for _ in range(ROUNDS)]
        finally:
            pool.terminate()
            pool.join()
        number = {}
        assignments = []
        for answers in found:
            assignments.append([number.setdefault(pid, len(number)) for pid, _, _ in answers])
        return {
            "workers": len(number),
            "parents": len(set(ppid for answers in found for _, ppid, _ in answers)),
            "first_round": assignments[0],
            "second_round": assignments[1],
            "rounds": ROUNDS,
            "assignments": len(set(map(tuple, assignments))),
            "results_differ": any([i for _, _, i in answers] != list(range(TASKS)) for answers in found),
        }

    return run


def context(start_method):
    """Returns the context of a start method. Before Python 3.4 there are no contexts, and fork is the only method."""
    if not hasattr(multiprocessing, "get_context"):
        if start_method != "fork":
            raise Skip("multiprocessing has no start method %s before Python 3.4" % start_method)
        return multiprocessing
    return multiprocessing.get_context(start_method)


if __name__ == "__main__":
    main({method: rounds(method) for method in ("fork", "forkserver", "spawn")})
