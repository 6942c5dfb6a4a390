"""Slide 21: a gevent greenlet that ticks eleven times, or until SIGINT sets a flag.

usage: slide21_gevent.py CASE SECONDS
"""

import signal

import gevent
from reporting import main
from ticks import TICKS, Ticks


def run(ticks):
    flag = []
    handler = gevent.signal_handler(signal.SIGINT, flag.append, True)

    def dots():
        while len(ticks.came) < TICKS and not flag:
            gevent.sleep(ticks.until_next())
            # SIGINT may have set the flag meanwhile.
            if not flag:
                ticks.tick()

    ticks.begin()
    gevent.spawn(dots).join()
    handler.cancel()
    return ticks.metrics("SIGINT" if flag else "itself", gevent=gevent.__version__)


if __name__ == "__main__":
    main({
        "ticks": lambda seconds: run(Ticks(seconds)),
        "ctrl-c": lambda seconds: run(Ticks(seconds, ctrl_c=True)),
    })
