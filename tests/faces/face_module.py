"""The face of the Python module.

The first argument is the name of the function. Each other argument is a request, "case call cancel length". For
each request the script prints a reply, "case status elapsed count". cases.txt defines the words of a request, and
table.rs those of a reply.
"""

import signal
import subprocess
import sys
import time
from decimal import Decimal  # noqa: F401 - the requests use both
from fractions import Fraction

import busy

# Sends this process a SIGINT when it is most likely inside its wait. A SIGINT before the wait would raise the same.
INTERRUPT = ["sh", "-c", "sleep 0.2; kill -INT $PPID"]


def reply(wait, cancel_time, seconds):
    interrupt = subprocess.Popen(INTERRUPT) if cancel_time == "during" else None
    before = time.monotonic_ns()
    status = "ok"
    try:
        count = wait(seconds)
    except KeyboardInterrupt:
        status = "cancelled"
    except Exception as error:
        return type(error).__name__, "-", "-"
    took = time.monotonic_ns() - before
    if interrupt:
        interrupt.wait()
    passed = "early" if took < Fraction(seconds) * 10**9 else "passed"
    counted = "-" if status == "cancelled" else "some" if count > 0 else "none"
    return status, passed, counted


signal.alarm(60)  # ends the process if a wait does not end
signal.signal(signal.SIGINT, signal.default_int_handler)  # the parent may have set it to be ignored
for request in sys.argv[2:]:
    # Python has one function for all kinds of wait, so the name of the call is not used.
    case, _, cancel_time, length = request.split()
    print(case, *reply(getattr(busy, sys.argv[1]), cancel_time, eval(length)))
