"""Temporary files, and programs in sessions of their own, for the scripts: nothing of them outlives the script.

Runs on CPython 2.7 and 3.x on Linux. Needs only the standard library.
"""

import os
import signal
import subprocess
import tempfile
import time

now = getattr(time, "monotonic", time.time)


def temporary_file():
    """Returns a file without a name, which vanishes with this process, and a path by which others can open it."""
    file = tempfile.TemporaryFile()
    return file, "/proc/%d/fd/%d" % (os.getpid(), file.fileno())


def read_text(file):
    """Returns the whole file as text. Opens it again, because its writers share one file offset with `file`."""
    with open("/proc/self/fd/%d" % file.fileno(), "rb") as own:
        return own.read().decode("utf-8", "replace")


def append_line(path, line):
    """Appends a line to a file that other processes append to as well: a single write with O_APPEND is not torn."""
    file = os.open(path, os.O_WRONLY | os.O_APPEND)
    os.write(file, (line + "\n").encode("utf-8"))
    os.close(file)


def start(command, output, **options):
    """Starts a program in a session of its own, with stdout and stderr redirected to the file `output`."""
    return subprocess.Popen(command, stdout=output, stderr=output, preexec_fn=os.setsid, **options)


def terminate(child):
    """Ends a program and all its descendants, including those that are being forked.

    SIGTERM comes first: multiprocessing's resource tracker ignores it, and removes the semaphores of the other
    processes once they have exited. SIGKILL follows after 5 s.
    """
    number, start = signal.SIGTERM, now()
    try:
        while now() < start + 10:
            os.killpg(child.pid, number)
            child.poll()
            number = signal.SIGKILL if now() > start + 5 else 0
            time.sleep(0.01)
    except OSError:
        pass  # The process group is empty.
    child.wait()


def wait_until(condition, seconds):
    """Calls `condition` until it returns a true value, for at most `seconds`. Returns the last value."""
    end = now() + seconds
    value = condition()
    while not value and now() < end:
        time.sleep(0.01)
        value = condition()
    return value
