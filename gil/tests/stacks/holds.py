"""Holds the GIL in a native call at a known depth, again and again.

argv: the depth
stdout: the line of the call, then `ready`
"""

import ctypes
import os
import sys
import threading

# Sleeps for a second with the GIL.
SLEEP = ctypes.PyDLL(None).usleep


def hold(n):
    if n > 0:
        hold(n - 1)
    while n == 0:
        SLEEP(999999)


def body():
    sys.stdout.write("%d\nready\n" % (hold.__code__.co_firstlineno + 4))
    sys.stdout.flush()
    # Three frames of threading, this one, and those of `hold`.
    hold(int(sys.argv[1]) - 5)


thread = threading.Thread(target=body)
thread.daemon = True
thread.start()
# Ends with the test, even if this thread never acquires the GIL again.
thread.join()
os._exit(0)
