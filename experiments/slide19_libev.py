"""Slides 19-20: an event loop of libev with a timer that ticks, a timer that stops the loop, and a watcher for SIGINT;
and a watcher without a reference to it.

usage: slide19_libev.py CASE SECONDS

The talk's binding, pyev, is no longer available; gevent has a binding of its own.
"""

import gc
import signal

from reporting import Skip, main
from ticks import TICKS, Ticks, fork

try:
    from gevent.libev import corecext as libev
except ImportError as error:
    libev, why = None, error


def run(ticks, keep=True):
    """Runs the talk's loop until one of its watchers ends it."""
    loop = libev.loop(default=True)  # Only the default loop can watch signals.
    ended_by = []

    def end(by):
        ended_by.append(by)
        loop.break_()

    watchers = [
        (loop.timer(0.0, ticks.interval), (ticks.tick,)),
        (loop.timer((TICKS - 1) * ticks.interval), (end, "stop timer")),
        (loop.signal(signal.SIGINT), (end, "SIGINT")),
    ]
    # A timer starts from the loop's cached time.
    loop.update_now()
    for watcher, callback in watchers:
        watcher.start(*callback)
    ticks.begin()
    if not keep:
        # From here on only libev has a pointer to the timer that ticks, and libev does not own that memory.
        del watchers[0], watcher
        gc.collect()
        [loop.timer(ticks.interval) for _ in range(1000)]  # Overwrites the freed memory.
    loop.run()
    metrics = ticks.metrics(ended_by[0], libev=libev.get_version())
    for watcher, _ in watchers:
        watcher.stop()
    loop.destroy()
    return metrics


def dropped_watcher(seconds):
    """Runs in a child process, because the talk's process crashed."""
    metrics = fork(lambda: run(Ticks(seconds), keep=False))()
    return dict(metrics or {}, crashed=metrics is None)


def with_libev(function):
    def case(seconds):
        if libev is None:
            raise Skip("this gevent was built without libev: %s" % why)
        return function(seconds)

    return case


if __name__ == "__main__":
    cases = {
        "ticks": lambda seconds: run(Ticks(seconds)),
        "ctrl-c": lambda seconds: run(Ticks(seconds, ctrl_c=True)),
        "dropped-watcher": dropped_watcher,
    }
    main({name: with_libev(function) for name, function in cases.items()})
