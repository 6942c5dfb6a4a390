"""What the tests share: both functions by name, and a child process that is sent signals while it waits."""

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

# How long a child may take, to bound a hang; nothing here takes more than a few seconds.
TIME_OUT = 60

PRELUDE = """
import ctypes, json, os, platform, signal, sys, threading, time
from busy import with_lock, without_lock

# A shell that starts the tests in the background has SIGINT ignored, and children inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

def ready():
    print("ready", flush=True)

def report(**values):
    print(json.dumps(values), flush=True)

def sigint_action():
    # By the system call itself: of the mask, glibc's sigaction() fills in a part only.
    rt_sigaction = {"x86_64": 13, "aarch64": 134}[platform.machine()]
    action = ctypes.create_string_buffer(64)
    assert ctypes.CDLL(None).syscall(rt_sigaction, int(signal.SIGINT), None, action, 8) == 0
    return action.raw.hex()
"""


class Child:
    """A Python process that runs `script` after PRELUDE, says ready(), and reports what it found."""

    def __init__(self, script, *arguments):
        code = PRELUDE + textwrap.dedent(script)
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.watchdog = threading.Timer(TIME_OUT, self.process.kill)
        self.watchdog.start()

    def wait_until_ready(self):
        line = self.process.stdout.readline()
        if line != "ready\n":
            pytest.fail(
                f"expected the child to say it is ready, found {line!r}\n{self.process.stderr.read()}"
            )

    def interrupt(self, after=0.3):
        """Sends SIGINT `after` the child has had some time to get into its wait; returns when it was sent."""
        time.sleep(after)
        now = time.monotonic()
        os.kill(self.process.pid, signal.SIGINT)
        return now

    def line(self):
        return self.process.stdout.readline()

    def end(self):
        """Waits for the end of the child; returns its exit code and what it wrote to stderr."""
        out, err = self.process.communicate(timeout=TIME_OUT)
        self.watchdog.cancel()
        self.out = out
        return self.process.returncode, err

    def report(self):
        """What the child reported; it must have ended well."""
        code, err = self.end()
        assert code == 0, f"the child ended with {code}\n{err}"
        return json.loads(self.out)

    def kill(self):
        self.watchdog.cancel()
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def child():
    """Starts children, which don't outlive the test."""
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
