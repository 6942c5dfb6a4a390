"""Fixtures that the tests share: both functions by name, and child processes that receive signals while they wait."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time

import busy
import pytest

# The time-out in seconds for a child that hangs; no child here takes more than a few seconds.
TIMEOUT = 60

PRELUDE = """
import ctypes, json, os, platform, signal, sys, threading, time
from busy import with_lock, without_lock

# A shell that starts the tests in the background ignores SIGINT, and children inherit this.
signal.signal(signal.SIGINT, signal.default_int_handler)

def ready():
    print("ready", flush=True)

def report(**values):
    print(json.dumps(values), flush=True)

def sigint_action():
    # The system call itself, since glibc's sigaction() fills in only a part of the mask.
    rt_sigaction = {"x86_64": 13, "aarch64": 134}[platform.machine()]
    action = ctypes.create_string_buffer(64)
    assert ctypes.CDLL(None).syscall(rt_sigaction, int(signal.SIGINT), None, action, 8) == 0
    return action.raw.hex()
"""


class Child:
    """A Python process that runs PRELUDE and `script`, calls ready(), and reports its results."""

    def __init__(self, script, *arguments):
        code = PRELUDE + textwrap.dedent(script)
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.watchdog = threading.Timer(TIMEOUT, self.process.kill)
        self.watchdog.start()

    def wait_until_ready(self):
        line = self.process.stdout.readline()
        if line != "ready\n":
            pytest.fail(f"expected the child to print ready, found {line!r}\n{self.process.stderr.read()}")

    def interrupt(self, after=0.3):
        """Sends SIGINT, `after` seconds from now so that the child has begun to wait. Returns the time of sending."""
        time.sleep(after)
        now = time.monotonic()
        os.kill(self.process.pid, signal.SIGINT)
        return now

    def line(self):
        return self.process.stdout.readline()

    def end(self):
        """Waits for the child to end. Returns its exit code and its stderr."""
        out, err = self.process.communicate(timeout=TIMEOUT)
        self.watchdog.cancel()
        self.out = out
        return self.process.returncode, err

    def report(self):
        """Returns the values that the child reported. Fails if its exit code is not 0."""
        code, err = self.end()
        assert code == 0, f"the child ended with {code}\n{err}"
        return json.loads(self.out)

    def kill(self):
        self.watchdog.cancel()
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def child():
    """Starts children, and kills them at the end of the test."""
    children = []

    def start(script, *arguments):
        children.append(Child(script, *arguments))
        return children[-1]

    yield start
    for one in children:
        one.kill()


@pytest.fixture(params=["with_lock", "without_lock"])
def name(request):
    return request.param


@pytest.fixture
def wait(name):
    return getattr(busy, name)
