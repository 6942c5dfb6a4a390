"""Slide 4: communicating sequential processes, which PyCSP makes of operating system processes and channels.

usage: slide04_csp.py CASE SECONDS, with CASE retire (the source has no more) or poison (the sink has enough)

A source sends numbers to three workers, and they their squares to a sink; who is told that a channel ends tells it on.
The channels are sockets on 127.0.0.1; PyCSP knows no secret.
"""

import multiprocessing
import os
import time

# Read when it is imported; else it takes the address of the network.
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
    """Without `count` it goes on until it is stopped."""
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
            # Long enough for every worker to come to take one.
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
    """Without `enough` it takes what comes."""
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
        # A process of PyCSP can't be sent to another: it has to be forked.
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
        # Who stops an endless source has no say in which numbers are still on their way.
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
