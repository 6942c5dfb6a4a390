"""The face of the Python module.

The first argument is the function's name. Each other is a question, "case call cancel length"; each gets an answer,
"case status elapsed count". cases.txt says what the words mean.
"""

import signal
import subprocess
import sys
import time
from decimal import Decimal  # noqa: F401 - the questions use both
from fractions import Fraction

import busy

# Sends this process a SIGINT when it is most likely inside its wait; before it, it would raise the same.
INTERRUPT = ["sh", "-c", "sleep 0.2; kill -INT $PPID"]


def answer(wait, how, seconds):
    interrupt = subprocess.Popen(INTERRUPT) if how == "during" else None
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


signal.alarm(60)  # ends the process also if a wait does not end
signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever started it may have it ignored
for question in sys.argv[2:]:
    # Python has one way to wait, whatever the call is for the others.
    case, _, how, length = question.split()
    print(case, *answer(getattr(busy, sys.argv[1]), how, eval(length)))
