"""Interrupts watches by Ctrl-C at random moments for a second: Ctrl-C may come anywhere in them, and must neither
leave a lock of threading locked nor keep its threads recorded."""

import faulthandler
import random
import signal
import sys
import threading
import time

import busy


@busy.watch()
def decorated():
    with busy.watch():
        pass


def interrupted(seconds):
    try:
        signal.setitimer(signal.ITIMER_REAL, seconds)
        while True:
            decorated()
    except KeyboardInterrupt:
        pass


# The alarm is Ctrl-C here, so another timer ends a process that hangs.
faulthandler.dump_traceback_later(60, exit=True)
signal.signal(signal.SIGALRM, signal.default_int_handler)
locked = recorded = times = 0
end = time.monotonic() + 1
while time.monotonic() < end:
    interrupted(random.random() * 0.002 + 1e-6)
    times += 1
    locked += threading._active_limbo_lock._is_owned()
    while threading._active_limbo_lock._is_owned():
        threading._active_limbo_lock.release()
    with busy.watch():
        pass
    recorded += type(threading._active) is not dict
if locked or recorded:
    sys.exit(
        "%d interrupts: the lock was kept %d times, threads were recorded %d times"
        % (times, locked, recorded)
    )
print("interrupted")
