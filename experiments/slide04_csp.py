"""Slide 4: communicating sequential processes. PyCSP builds them from operating system processes and channels.

usage: slide04_csp.py CASE SECONDS

CASE is retire (the source has sent its last number) or poison (the sink has received enough numbers).
A source sends numbers to three workers, and the workers send the squares to a sink. A process that learns of the end of
one channel ends its other channels too. The channels are sockets on 127.0.0.1; PyCSP does not support a secret.
"""

import multiprocessing
import os
import time

# PyCSP reads this when it is imported. Without it, the channels listen on the address of the network.
os.environ["PYCSP_HOST"] = "127.0.0.1"

from pycsp.parallel import (  # noqa: E402
    Channel,
    ChannelPoisonException,
    ChannelRetireException,
    Parallel,
    multiprocess,
    poison,
    retire,
    shutdown,
    version,
)
from reporting import main  # noqa: E402

WORKERS, ITEMS = 3, 60


@multiprocess
def source(tasks, count):
    """Sends `count` numbers; if that is None, sends numbers until the channel is poisoned."""
    sent = 0
    try:
        while sent != count:
            tasks(sent)
            sent += 1
        retire(tasks)
    except ChannelPoisonException:
        poison(tasks)
    return os.getpid(), sent


@multiprocess
def worker(tasks, results):
    done = 0
    try:
        while True:
            i = tasks()
            # Long enough for every worker to receive a number.
            time.sleep(0.002)
            results((i, i * i))
            done += 1
    except ChannelRetireException:
        retire(results)
    except ChannelPoisonException:
        poison(tasks, results)
    return os.getpid(), done


@multiprocess
def sink(results, enough):
    """Receives `enough` numbers; if that is None, receives numbers until the channel retires."""
    taken = []
    try:
        while len(taken) != enough:
            taken.append(results())
        poison(results)
    except ChannelRetireException:
        pass
    return os.getpid(), taken


def network(count, enough):
    def run(_seconds):
        # A PyCSP process cannot be pickled, so it has to be forked.
        if hasattr(multiprocessing, "set_start_method"):
            multiprocessing.set_start_method("fork")
        tasks, results = Channel(), Channel()
        start = time.time()
        sides = [source(tasks.writer(), count)] + WORKERS * worker(tasks.reader(), results.writer())
        answers = Parallel(sides, sink(results.reader(), enough))
        took = time.time() - start
        shutdown()
        pids = set(pid for pid, _ in answers)
        taken = answers[-1][1]
        # An endless source is stopped while numbers are in transit, so the sink need not receive a whole range.
        numbers = range(count) if count else [i for i, _ in taken]
        return {
            "release": ".".join(map(str, version[:3])),
            "processes": len(pids),
            "sent": answers[0][1],
            "done_by_worker": [done for _, done in answers[1:-1]],
            "taken": len(taken),
            "different": len(set(i for i, _ in taken)),
            "sum": sum(square for _, square in taken),
            "expected_sum": sum(i * i for i in numbers),
            "took_s": took,
        }

    return run


if __name__ == "__main__":
    main({"retire": network(ITEMS, None), "poison": network(None, ITEMS)})
