"""Runs programs that use well-known packages, alone and under `busy record`, and compares them.

python run.py BUSY [TIMES]

A program must print what it should, end and print the same in both ways, and leave no process behind. At least as many
processes as are expected, its own among them, must be in the recording. The exit code is 1 if any of that fails.
Programs whose packages are missing are skipped.
"""

import collections
import importlib.util
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time
import typing

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from processes import end_all, having  # noqa: E402

TIMEOUT_S = 120
# Prints how a service answers to four threads, ends it, and prints its exit code.
DRIVER = """
import collections, http.client, signal, socket, subprocess, sys, threading, time
with socket.create_server(("127.0.0.1", 0)) as server:
    port = server.getsockname()[1]
with open("app.py", "w") as file:
    file.write('''
import json, threading, time
def application(environ, start_response):
    body = json.dumps(list(range(2000))).encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
async def asgi(scope, receive, send):
    if scope["type"] == "http":
        body = json.dumps(list(range(2000))).encode()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body})
''')
service = subprocess.Popen([sys.executable, "-m", *(word.replace("PORT", str(port)) for word in COMMAND)])
def get(connection):
    connection.request("GET", "/")
    response = connection.getresponse()
    return response.status, len(response.read())
for _ in range(300):
    try:
        get(http.client.HTTPConnection("127.0.0.1", port, timeout=30))
        break
    except OSError:
        time.sleep(0.1)
answers = []
def send():
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    for _ in range(100):
        answers.append(get(connection))
threads = [threading.Thread(target=send) for _ in range(4)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
service.send_signal(signal.SIGTERM)
print(dict(collections.Counter(answers)), service.wait(30))
"""
START_METHODS = """
import multiprocessing, os
def square(number):
    return number * number
if __name__ == "__main__":
    for method in ("fork", "spawn", "forkserver"):
        with multiprocessing.get_context(method).Pool(2) as pool:
            print(method, pool.map(square, range(10)))
"""
CELERY = """
import subprocess, sys, time
with open("tasks.py", "w") as file:
    file.write('''
import celery, json
app = celery.Celery("tasks", broker="filesystem://", backend="file://.")
app.conf.broker_transport_options = {name: "." for name in ("data_folder_in", "data_folder_out", "processed_folder")}
app.conf.broker_transport_options["control_folder"] = "control"
@app.task
def length(number):
    return len(json.dumps(list(range(number))))
''')
import tasks
command = ["-A", "tasks", "worker", "--concurrency", "2", "--pool", "prefork", "--loglevel", "critical"]
worker = subprocess.Popen([sys.executable, "-m", "celery", *command, "--without-gossip", "--without-mingle"],
    stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
print([tasks.length.delay(number).get(timeout=60) for number in range(1000, 1020)])
worker.terminate()
print(worker.wait(60))
"""
DASK = """
import distributed, sys
def square(number):
    return number * number
if __name__ == "__main__":
    options = {"dashboard_address": None, "n_workers": 2, "threads_per_worker": 2, "silence_logs": 50}
    with distributed.LocalCluster(**options) as cluster, distributed.Client(cluster) as client:
        print(sum(client.gather(client.map(square, range(200)))))
"""
GEVENT = """
from gevent import monkey
monkey.patch_all()
import gevent, hashlib, threading, time
def wait(number):
    time.sleep(0.01)
    return hashlib.sha256(b"x" * number).hexdigest()[:4]
print([job.get() for job in [gevent.spawn(wait, number) for number in range(20)]])
print(gevent.get_hub().threadpool.apply(sum, (range(1000),)))
"""
NUMPY = """
import numpy, threading
square = numpy.arange(250_000.0).reshape(500, 500) % 7
threads = [threading.Thread(target=lambda: square @ square) for _ in range(4)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print(int((square @ square).sum()))
"""
TESTS = """
import pathlib, subprocess, sys
pathlib.Path("test_it.py").write_text("import time, pytest\\n@pytest.mark.parametrize('i', range(40))\\n"
    "def test_sum(i):\\n    time.sleep(0.001)\\n    assert i != 7\\n")
command = [sys.executable, "-m", "pytest", "-q", "-n", "2", "-p", "no:busy"]
done = subprocess.run(command, capture_output=True, text=True)
print(done.returncode, done.stdout.splitlines()[-1].split(" in ")[0])
"""
WORK = "import hashlib, os, signal, subprocess, sys, threading, time\nhashlib.sha256(bytes(10_000_000))\n"
BEAT = "threading.Thread(target=lambda: [time.sleep(0.001) for _ in iter(int, 1)], daemon=True).start()\n"
KILLED = WORK + BEAT + "print('killed', flush=True)\nos.kill(os.getpid(), signal.SIG%s)\ntime.sleep(60)\n"
EXECUTES_ITSELF = (
    WORK
    + "if len(sys.argv) < 4:\n    os.execv(sys.executable, [sys.executable, *sys.argv, 'x'])\nprint(sys.argv[1:])"
)
IPYTHON = (
    "import sys\nfrom IPython import start_ipython\n"
    "sys.exit(start_ipython(['--no-banner', '-c', 'x = !echo 5\\nprint(x, 6 * 7)']))"
)
OUTLIVED = WORK + "print(os.fork() == 0 and (time.sleep(1), os._exit(0)) or 'parent')\n"


class Program(typing.NamedTuple):
    """A program, a pattern of what it prints, the packages that it needs, and the least number of processes that are
    recorded."""

    source: str
    prints: str
    packages: tuple[str, ...] = ()
    processes: int = 1


def service(*command):
    return f"COMMAND = {command!r}\n{DRIVER}"


ANSWERS = r"^{\(200, \d+\): 400} (0|-15)$"
GUNICORN = service(
    "gunicorn", "app:application", "-b127.0.0.1:PORT", "-w2", "--threads=4", "--log-level=critical"
)
UVICORN = service("uvicorn", "app:asgi", "--port=PORT", "--log-level=critical")
PROGRAMS = {
    "gunicorn, 2 x 4 threads": Program(GUNICORN, ANSWERS, ("gunicorn",), 4),
    "uvicorn": Program(UVICORN, ANSWERS, ("uvicorn",), 2),
    "Celery, prefork": Program(CELERY, r"^\[4890, .*\]\n0$", ("celery",), 4),
    "multiprocessing, all start methods": Program(START_METHODS, r"forkserver \[0, .*81\]$", (), 7),
    "dask, LocalCluster": Program(DASK, "^2646700$", ("distributed",), 3),
    "pytest -n 2": Program(TESTS, "^1 .*1 failed, 39 passed", ("pytest", "xdist"), 4),
    "IPython": Program(IPYTHON, r"^\['5'\] 42$", ("IPython",)),
    "gevent": Program(GEVENT, "^499500$", ("gevent",)),
    "numpy, BLAS threads": Program(NUMPY, r"^\d+$", ("numpy",)),
    "os._exit": Program(WORK + BEAT + "os.write(1, b'bye')\nos._exit(3)", "^bye$"),
    "sys.exit beside daemon threads": Program(WORK + BEAT + "print('end')\nsys.exit('reason')", "^end$"),
    "killed by SIGTERM": Program(KILLED % "TERM", "^killed$"),
    "killed by SIGKILL": Program(KILLED % "KILL", "^killed$"),
    "killed by SIGSEGV": Program(KILLED % "SEGV", "^killed$"),
    "executes itself": Program(EXECUTES_ITSELF, r"^\['x', 'x', 'x'\]$", (), 4),
    "a child that outlives it": Program(OUTLIVED, "^parent$"),
}


class Outcome(typing.NamedTuple):
    """How a program ended: the exit code as a shell reports it, what it printed, and its processes that are left."""

    code: int
    output: str
    left: int


def run(command, folder):
    """Runs a command in its own session, and ends what it leaves behind."""
    name, value = mark = ("BUSY_SOFTWARE", str(folder))
    environment = {
        **os.environ,
        "HOME": str(folder),
        "PYTHONWARNINGS": "ignore",
        name: value,
    }
    with open(folder / "output", "w+") as output:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            start_new_session=True,
            stderr=subprocess.DEVNULL,
        )
        try:
            code = process.wait(TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            code = process.wait()
    # A child that outlives its parent does so for a second.
    deadline = time.monotonic() + 5
    while (left := having(*mark)) and time.monotonic() < deadline:
        time.sleep(0.1)
    end_all(*mark)
    return Outcome(128 - code if code < 0 else code, (folder / "output").read_text(), len(left))


def compare(busy, program):
    """Runs a program in both ways. Returns what differs, and how many processes were recorded."""
    outcomes = []
    for recorded in (False, True):
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            script, figures = folder / "program.py", folder / "r.json"
            script.write_text(program.source)
            command = [sys.executable, script]
            if recorded:
                command = [busy, "record", "--output", folder / "r.busy", "--json", figures, "--", *command]
            outcomes.append(run(command, folder))
            if recorded:
                result = (
                    json.loads(figures.read_text())["results"][0] if figures.exists() else {"processes": []}
                )
    differences = [
        f"{field}: {alone!r} alone, {recorded!r} recorded"
        for field, alone, recorded in zip(Outcome._fields, *outcomes, strict=True)
        if alone != recorded
    ]
    if not re.search(program.prints, outcomes[0].output, re.MULTILINE):
        differences.append(
            f"expected {program.prints!r}, found {outcomes[0].output!r}, both alone and recorded"
        )
    found = len(result["processes"])
    if found < program.processes:
        differences.append(f"{found} processes recorded, expected {program.processes}")
    return differences, found


def main(busy, times="1"):
    failed = False
    for name, program in PROGRAMS.items():
        missing = [package for package in program.packages if importlib.util.find_spec(package) is None]
        if missing:
            print(f"{name}: skipped, without {', '.join(missing)}", flush=True)
            continue
        results = [compare(os.path.abspath(busy), program) for _ in range(int(times))]
        differences = collections.Counter(difference for one, _ in results for difference in one)
        processes = sorted({found for _, found in results})
        print(
            f"{name}: {'DIFFERENT' if differences else 'the same'}, {processes} processes recorded",
            flush=True,
        )
        for difference, count in differences.items():
            print(f"    {count} of {times}: {difference}")
        failed = failed or bool(differences)
    return failed


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
