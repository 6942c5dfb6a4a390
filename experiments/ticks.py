"""The talk's dots, one per interval and eleven in all, and the Ctrl-C that may end them earlier (slides 19-21).

Shared by the experiments with an event loop. Runs on CPython 2.7 and 3.x. Needs only the standard library.
"""

import json
import os
import signal
import time

# The last tick is due ten intervals after the first.
TICKS = 11

now = getattr(time, "monotonic", time.time)


class Ticks(object):
    """Records when each tick came, and how late it was.

    The talk's interval was one second. Here it is a thirtieth of `seconds`, so all ticks together take a third. With
    `ctrl_c`, a child sends SIGINT to this process midway between two ticks.
    """

    def __init__(self, seconds, ctrl_c=False):
        self.interval = seconds / 30.0
        self.came, self.threads = [], 0
        self.ctrl_c, self.sent = ctrl_c, None

    def begin(self):
        """Starts the clock: the first tick is due now. The handler for SIGINT must be ready."""
        self.start = now()
        if self.ctrl_c:
            target, delay = os.getpid(), 4.5 * self.interval
            self.sent = fork(lambda: press_ctrl_c(target, delay))

    def tick(self):
        self.came.append(now())
        self.threads = threads()

    def until_next(self):
        """Returns the number of seconds until the next tick is due."""
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
    """Returns the number of threads in this process, known to Python or not, without the kernel's for io_uring."""
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
    """Calls `function` in a child process.

    Returns a function that waits for the child and returns the result, or None if a signal killed the child.
    """
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
            result = pipe.read()
        status = os.waitpid(child, 0)[1]
        if os.WIFSIGNALED(status):
            return None
        if not result:
            raise RuntimeError("the child exited with %d" % os.WEXITSTATUS(status))
        return json.loads(result)

    return answer
