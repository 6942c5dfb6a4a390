"""Slide 18: generators as coroutines. Many tasks share one thread, and do not contend for the GIL; but a task that
computes for long stalls the others.

usage: slide18_generator.py CASE SECONDS VARIANT

VARIANT is generators or threads.
"""

import heapq
import resource
import threading
import time
from collections import deque

from reporting import main

TASKS = 4
# The number of waits of a waiting task, of slices of a computing task, and of steps whose order is reported.
WAITS, SLICES, SHOWN = 10, 4, 12

now = getattr(time, "monotonic", time.time)


def schedule(tasks):
    """The whole scheduler. Ready tasks run in turn; a task that yields a delay is ready again when that has passed."""
    ready, waiting = deque(enumerate(tasks)), []
    while ready or waiting:
        if not ready:
            time.sleep(max(0.0, waiting[0][0] - now()))
        while waiting and waiting[0][0] <= now():
            ready.append(heapq.heappop(waiting)[1:])
        if not ready:
            continue
        number, task = ready.popleft()
        try:
            delay = next(task)
        except StopIteration:
            continue
        if delay is None:
            ready.append((number, task))
        else:
            heapq.heappush(waiting, (now() + delay, number, task))


def run_threads(functions):
    threads = [threading.Thread(target=function) for function in functions]
    for thread in threads:
        thread.daemon = True
        thread.start()
    for thread in threads:
        thread.join()


class Steps(object):
    """Records the steps of the tasks, and the threads in which they ran."""

    def __init__(self):
        self.count, self.order, self.threads = 0, [], set()

    def step(self, task):
        self.count += 1
        if self.count <= SHOWN:
            self.order.append(task)
        self.threads.add(threading.current_thread())


def context_switches():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_nvcsw + usage.ru_nivcsw


def cpu_time():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def in_turn(seconds, variant):
    """Each task does one step, and then lets the next task run."""
    steps = Steps()
    switches, start = context_switches(), now()
    end = start + seconds
    if variant == "generators":
        schedule([steps_of_generator(task, steps, end) for task in range(TASKS)])
    else:
        batons = [threading.Lock() for _ in range(TASKS)]
        for baton in batons:
            baton.acquire()
        tasks = [steps_of_thread(task, steps, end, batons) for task in range(TASKS)]
        batons[0].release()
        run_threads(tasks)
    took, switches = now() - start, context_switches() - switches
    return {
        "threads": len(steps.threads),
        "first_steps": steps.order,
        "steps_per_s": steps.count / took,
        "switches_per_step": float(switches) / steps.count,
    }


def steps_of_generator(task, steps, end):
    while now() < end:
        steps.step(task)
        yield


def steps_of_thread(task, steps, end, batons):
    mine, following = batons[task], batons[(task + 1) % TASKS]

    def work():
        running = True
        while running:
            mine.acquire()
            running = now() < end
            if running:
                steps.step(task)
            following.release()

    return work


def waiting(seconds, _variant):
    """The use of generators: while one task waits, the others run, so all waits together take as long as one task's."""
    steps = Steps()

    def task(number):
        for _ in range(WAITS):
            yield float(seconds) / WAITS
            steps.step(number)

    start = now()
    schedule([task(number) for number in range(TASKS)])
    return {
        "threads": len(steps.threads),
        "first_steps": steps.order,
        "waited_s": float(TASKS * seconds),
        "took_s": now() - start,
    }


def beside_computing(seconds, variant):
    """The limit of generators: one task computes for long, while the others are due a hundred times a second."""
    steps = Steps()
    pause, gaps, slices = 0.01, [0.0], [0.0]
    start, used = now(), cpu_time()
    end = start + seconds

    def ticks(number):
        before = now()
        while before < end:
            yield pause
            after = now()
            gaps[0] = max(gaps[0], after - before)
            before = after
            steps.step(number)

    def computes():
        begin = now()
        while begin < end:
            while now() < begin + float(seconds) / SLICES:
                pass
            slices[0] = max(slices[0], now() - begin)
            steps.step(TASKS - 1)
            yield pause
            begin = now()

    tasks = [ticks(number) for number in range(TASKS - 1)] + [computes()]
    if variant == "generators":
        schedule(tasks)
    else:
        run_threads([lambda task=task: [time.sleep(delay) for delay in task] for task in tasks])
    return {
        "threads": len(steps.threads),
        "slice_s": slices[0],
        "longest_gap_s": gaps[0],
        # One task computes nearly all the time, so a share below 1 is time that other processes took.
        "cpu_share": (cpu_time() - used) / (now() - start),
    }


if __name__ == "__main__":
    main(
        {"in-turn": in_turn, "waiting": waiting, "beside-computing": beside_computing},
        "CASE SECONDS VARIANT",
    )
