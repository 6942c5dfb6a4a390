"""Runs the command busy of a dask worker's environment, within the worker. The text of this file travels to the worker,
so that nothing is needed there but the wheel of busy-gil, and no particular version of Python.

`look` describes the worker, `work` runs the command as a task. The command can't outlive its task: it is ended if the
task is cancelled (the client has gone, for example), if the worker closes or is killed, and after a time-out.
"""

import importlib
import os
import signal
import socket
import subprocess
import sys
import time

# The largest number of bytes of a document.
MOST = 256 << 20
# How long the command may take to end what it has started, after SIGTERM.
END_S = 10
POLL_S = 0.1
# Becomes the command, once the kernel has been asked to kill it with the thread that waits for it (prctl(2),
# PR_SET_PDEATHSIG): a worker that is killed leaves nothing behind. If the worker is gone already, there is no signal.
TIED = """
import ctypes, os, signal, sys
ctypes.CDLL(None, use_errno=True).prctl(1, signal.SIGKILL, 0, 0, 0)
if os.getppid() == int(sys.argv[1]):
    os.execv(sys.argv[2], sys.argv[2:])
"""


def look():
    """Returns the name of this worker's machine, and what distinguishes the running kernel from all others."""
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            machine = file.read().strip()
    except OSError:
        machine = socket.gethostname()
    return {"host_name": socket.gethostname(), "machine": machine}


def work(order):
    """Runs the command, and returns {"document": text}, or {"failed": reason} if it wrote none."""
    # It may have been installed since this process started.
    importlib.invalidate_caches()
    try:
        from busy._installation import NotInstalled, command
    except ImportError as error:
        return {
            "failed": f"the worker's Python, {sys.executable}, has no busy-gil ({error}): install it there, for "
            'example by client.register_plugin(distributed.PipInstall(["busy-gil"]))'
        }
    try:
        path = command()
    except NotInstalled as reason:
        return {"failed": f"on the worker: {reason}"}
    arguments = [
        *order["options"],
        *([] if order["has_python"] else ["-p", sys.executable]),
        *order["operands"],
    ]
    # The results travel to the client, so none are kept here: no folder can be created below a device.
    environment = {**os.environ, "XDG_STATE_HOME": "/dev/null"}
    from distributed import get_worker

    worker = get_worker()
    with open(os.memfd_create("stdout"), "w+b") as stdout, open(os.memfd_create("stderr"), "w+b") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", TIED, str(os.getpid()), path, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            cwd=worker.local_directory if os.path.isdir(worker.local_directory) else None,
            env=environment,
            start_new_session=True,
        )
        reason = None
        try:
            reason = _watch(process, worker, order["timeout_s"], (stdout, stderr))
        finally:
            _end(process)
        if reason:
            return {"failed": reason}
        stdout.seek(0)
        stderr.seek(0)
        document, notes = stdout.read().decode(errors="replace"), stderr.read().decode(errors="replace")
    if not document.strip():
        lines = notes.strip().splitlines() or ["it printed nothing"]
        # An option that an older release does not know has its reason in the first line.
        reason = next((line for line in lines if line.startswith(("busy: ", "error: "))), lines[-1])
        return {"failed": f"on the worker, busy ended with {process.returncode}: {reason}"}
    return {
        "document": document,
        "notes": [line for line in notes.splitlines() if line.startswith("skipped: ")],
    }


def _watch(process, worker, timeout_s, outputs):
    """Waits for the end of the process. Returns the reason if it must be ended."""
    key = worker.get_current_task()
    end = time.monotonic() + timeout_s
    while process.poll() is None:
        task = worker.state.tasks.get(key)
        if task is None or task.state not in ("executing", "long-running"):
            return "the task was cancelled"
        if worker.status.name not in ("running", "paused"):
            return "the worker was closed meanwhile"
        if time.monotonic() > end:
            return f"it did not end within {timeout_s:g} s (--host-timeout) and was ended"
        if any(os.fstat(output.fileno()).st_size > MOST for output in outputs):
            return f"it wrote more than {MOST >> 20} MB and was ended"
        time.sleep(POLL_S)
    return None


def _end(process):
    """Ends the process if it runs. It ends all that it has started by itself, also if it is killed."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        if process.poll() is None:
            process.send_signal(number)
            try:
                process.wait(END_S)
            except subprocess.TimeoutExpired:
                pass
