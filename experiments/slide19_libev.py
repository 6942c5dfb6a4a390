"""Slides 19-20: an event loop of libev: a timer that ticks, one that stops, a watcher for SIGINT; and a watcher that
nobody keeps.

usage: slide19_libev.py CASE SECONDS

The talk's binding, pyev, is gone; gevent has one of its own.
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
    """The talk's loop, until one of its watchers ends it."""
    loop = libev.loop(default=True)  # which alone may watch signals
    ended_by = []

    def end(by):
        ended_by.append(by)
        loop.break_()

    watchers = [
        (loop.timer(0.0, ticks.interval), (ticks.tick,)),
        (loop.timer((TICKS - 1) * ticks.interval), (end, "stop timer")),
        (loop.signal(signal.SIGINT), (end, "SIGINT")),
    ]
    # A timer counts from the time that the loop has last seen.
    loop.update_now()
    for watcher, callback in watchers:
        watcher.start(*callback)
    ticks.begin()
    if not keep:
        # From here on only libev knows the timer that ticks, and to libev it is memory that belongs to others.
        del watchers[0], watcher
        gc.collect()
        [loop.timer(ticks.interval) for _ in range(1000)]  # whatever was freed is written over
    loop.run()
    metrics = ticks.metrics(ended_by[0], libev=libev.get_version())
    for watcher, _ in watchers:
        watcher.stop()
    loop.destroy()
    return metrics


def dropped_watcher(seconds):
    """In a child: the talk's process crashed."""
    metrics = fork(lambda: run(Ticks(seconds), keep=False))()
    return dict(metrics or {}, crashed=metrics is None)


def with_libev(function):
    def case(seconds):
        if libev is None:
            raise Skip("this gevent came without its libev: %s" % why)
        return function(seconds)

    return case


if __name__ == "__main__":
    cases = {
        "ticks": lambda seconds: run(Ticks(seconds)),
        "ctrl-c": lambda seconds: run(Ticks(seconds, ctrl_c=True)),
        "dropped-watcher": dropped_watcher,
    }
    main({name: with_libev(function) for name, function in cases.items()})
