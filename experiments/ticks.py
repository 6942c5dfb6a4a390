"""The talk's dots, one an interval, eleven in all, and the Ctrl-C that may end them earlier (slides 19-21).

Shared by the experiments with an event loop. Serves CPython 2.7 and 3.x, and needs only the standard library.
"""

import json
import os
import signal
import time

# The last of them is due ten intervals after the first.
TICKS = 11

now = getattr(time, "monotonic", time.time)


class Ticks(object):
    """When each came, against when it was due.

    The talk's interval was a second; here it is so much of `seconds` that all of them take a third. With `ctrl_c` a
    child sends this process SIGINT midway between two of them.
    """

    def __init__(self, seconds, ctrl_c=False):
        self.interval = seconds / 30.0
        self.came, self.threads = [], 0
        self.ctrl_c, self.sent = ctrl_c, None

    def begin(self):
        """The first tick is due, and whoever watches for SIGINT is ready."""
        self.start = now()
        if self.ctrl_c:
            target, delay = os.getpid(), 4.5 * self.interval
            self.sent = fork(lambda: press_ctrl_c(target, delay))

    def tick(self):
        self.came.append(now())
        self.threads = threads()

    def until_next(self):
        """Seconds until the next one is due."""
        return max(0.0, self.start + len(self.came) * self.interval - now())

    def metrics(self, ended_by, **others):
        ended = now()
        late = [came - self.start - number * self.interval for number, came in enumerate(self.came)]
        metrics = dict(
            others,
            ticks=len(self.came),
            interval_s=self.interval,
            took_s=ended - self.start,
            latest_s=max(late + [0.0]),
            threads=self.threads,
            ended_by=ended_by,
        )
        if self.sent:
            metrics["stop_s"] = ended - self.sent()
        return metrics


def threads():
    """All threads of this process, known to Python or not; but not those of io_uring, which the kernel runs."""
    folder = "/proc/self/task"
    names = []
    for thread in os.listdir(folder):
        with open(os.path.join(folder, thread, "comm")) as comm:
            names.append(comm.read())
    return sum(not name.startswith("iou-") for name in names)


def press_ctrl_c(target, delay):
    time.sleep(delay)
    sent = now()
    os.kill(target, signal.SIGINT)
    return sent


def fork(function):
    """Calls the function in a child. Returns a function that waits for what it returns; None if a signal killed it."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writer, json.dumps(function()).encode())
            os._exit(0)
        finally:
            os._exit(1)
    os.close(writer)

    def answer():
        with os.fdopen(reader) as pipe:
            told = pipe.read()
        status = os.waitpid(child, 0)[1]
        if os.WIFSIGNALED(status):
            return None
        if not told:
            raise RuntimeError("the child exited with %d" % os.WEXITSTATUS(status))
        return json.loads(told)

    return answer
