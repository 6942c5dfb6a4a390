"""Runs threads with known activities until stdin ends.

argv: the path of libbusy
stdout: "<activity> <thread id>" for each, then "ready"
"""

import ctypes
import sys
import threading
import time

SPIN_NS = 10 * 1000 * 1000
NEVER = threading.Lock()
NEVER.acquire()
STARTED = threading.Semaphore(0)


def hold():
    """Holds the GIL in native calls, and drops it on request between them."""
    wait = ctypes.PyDLL(sys.argv[1]).busy_wait_ns
    result = (ctypes.c_uint64 * 2)()
    while True:
        wait(ctypes.c_uint64(SPIN_NS), None, result)


def run():
    """Runs without the GIL."""
    wait = ctypes.CDLL(sys.argv[1]).busy_wait_ns
    result = (ctypes.c_uint64 * 2)()
    while True:
        wait(ctypes.c_uint64(10000 * SPIN_NS), None, result)


def sleep():
    while True:
        time.sleep(100)


def lock():
    NEVER.acquire()


def start(task):
    tid = []

    def body():
        # SYS_gettid on x86-64.
        tid.append(ctypes.CDLL(None).syscall(186))
        STARTED.release()
        task()

    thread = threading.Thread(target=body)
    thread.daemon = True
    thread.start()
    STARTED.acquire()
    sys.stdout.write(" ".join((task.__name__, str(tid[0]))) + "\n")


for task in (sleep, lock, run):
    start(task)
# From now on, threads contend for the GIL, so let the others finish their start first.
time.sleep(0.1)
start(hold)
start(hold)
sys.stdout.write("ready\n")
sys.stdout.flush()
sys.stdin.readline()
