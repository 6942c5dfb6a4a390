"""Measures one round of what a recording costs the recorded program, for busy and its peers.

python record_cost.py BUSY FOLDER QUICK

Each program runs alone and under each recorder, in turns. The program prints its own CPU time, so the recorder's is not
part of it. The start is the wall time of a Python that does nothing, recorder included.
"""

import json
import os
import subprocess
import sys
import time

LOOP = "for _ in range(%d): pass"
# Some 10 us of Python code between two releases, and none.
RELEASES = """
import os
for _ in range(%d):
    os.stat('/')
    for _ in range(%d): pass
"""
CODE = """
import time
start = time.process_time()
%s
print("CPU time:", time.process_time() - start)
"""
MARK = "CPU time: "
STARTS = 5


def programs(quick):
    size = 20 if quick else 1
    return {
        "loop": LOOP % (30_000_000 // size),
        "100 kHz": RELEASES % (50_000 // size, 300),
        "1 MHz": RELEASES % (400_000 // size, 1),
    }


def commands(busy, folder, path):
    """Returns how each recorder runs the script."""

    def to(name):
        return os.path.join(folder, "record_cost" + name)

    py_spy = os.path.join(os.path.dirname(sys.executable), "py-spy")
    options = ["--gil", "--nonblocking", "--format", "raw", "-o", to(".txt"), "--"]
    return {
        "alone": [sys.executable, path],
        "busy": [busy, "record", "-o", to(".busy"), "--", sys.executable, path],
        "py-spy": [py_spy, "record", *options, sys.executable, path],
        "viztracer": [sys.executable, "-m", "viztracer", "--quiet", "-o", to(".json"), path],
    }


def run(command):
    start = time.perf_counter()
    done = subprocess.run(command, capture_output=True, timeout=300)
    took = time.perf_counter() - start
    if done.returncode != 0:
        raise RuntimeError((done.stderr.decode().strip().splitlines() or ["no output"])[-1])
    return done.stdout, took


def cpu_ms(command):
    """Returns the CPU time that the program has printed. Its recorder may have printed other lines."""
    output, _ = run(command)
    [line] = [line for line in output.decode().splitlines() if line.startswith(MARK)]
    return float(line[len(MARK) :]) * 1e3


def start_ms(command):
    return min(run(command)[1] for _ in range(STARTS)) * 1e3


def main(busy, folder, quick):
    # The bench has pinned this process to one core; a recorder is to have another one.
    os.sched_setaffinity(0, range(os.cpu_count()))
    path = os.path.join(folder, "record_cost.py")
    all_commands = commands(busy, folder, path)
    cases = {name: CODE % statement for name, statement in programs(quick == "quick").items()}
    cases["start"] = ""
    figures, missing = {}, {}
    for name, code in cases.items():
        with open(path, "w") as file:
            file.write(code)
        found = {}
        for tool, command in all_commands.items():
            try:
                found[tool] = (cpu_ms if code else start_ms)(command)
            except (OSError, RuntimeError, ValueError, subprocess.TimeoutExpired) as error:
                missing[name + " " + tool] = str(error)
        busy_ms = found.pop("busy", None)
        if busy_ms is None:
            missing[name] = missing[name + " busy"]
        else:
            figures.update((name + " " + tool, [busy_ms, ms]) for tool, ms in found.items())
    print(json.dumps({"figures": figures, "missing": missing}))


if __name__ == "__main__":
    main(*sys.argv[1:])
