"""What a script starts beside itself, and takes away with itself: programs in a session of their own, nameless files.

Serves CPython 2.7 and 3.x on Linux, and needs only the standard library.
"""

import os
import signal
import subprocess
import tempfile
import time

now = getattr(time, "monotonic", time.time)


def nameless():
    """A file that goes with this process, and its path for others meanwhile."""
    file = tempfile.TemporaryFile()
    return file, "/proc/%d/fd/%d" % (os.getpid(), file.fileno())


def text(file):
    """All of it, opened anew: those that write share the place in the file with each other."""
    with open("/proc/self/fd/%d" % file.fileno(), "rb") as own:
        return own.read().decode("utf-8", "replace")


def report(path, line):
    """Adds a line to a file of another process. One write to a file opened for appending is not torn by others."""
    file = os.open(path, os.O_WRONLY | os.O_APPEND)
    os.write(file, (line + "\n").encode("utf-8"))
    os.close(file)


def start(command, output, **more):
    """Starts a program that writes all to the file `output`."""
    return subprocess.Popen(command, stdout=output, stderr=output, preexec_fn=os.setsid, **more)


def end(child):
    """Ends a program and all that it started, those too that are just being forked. They are asked first:
    multiprocessing's resource tracker, which does not listen, has the others' semaphores to take away when they have
    gone."""
    number, start = signal.SIGTERM, now()
    try:
        while now() < start + 10:
            os.killpg(child.pid, number)
            child.poll()
            number = signal.SIGKILL if now() > start + 5 else 0
            time.sleep(0.01)
    except OSError:
        pass  # Nobody is left.
    child.wait()


def wait_for(there, seconds):
    """What `there` returns once that is true; else what it returned last."""
    end = now() + seconds
    found = there()
    while not found and now() < end:
        time.sleep(0.01)
        found = there()
    return found
