"""Measures one round of what a recording costs the recorded program, for busy and its peers.

python record_cost.py BUSY FOLDER QUICK PEER...

Each program runs under busy and under each PEER, of which one may be "alone", in turns, and prints its own CPU time,
so the recorder's is not part of it. Those that release the GIL also print the time per release, as if a turn of a loop
took 25 ns: they time such a loop before and after every few releases, since the cores may change their speed, and other
processes slow both. That time is compared with the one alone only: a peer may slow the loop itself. The start is the
wall time of a Python that does nothing, recorder included.
"""

import json
import os
import statistics
import subprocess
import sys
import time
import timeit

CPU_MS, RELEASE_NS, START_MS = "CPU time in ms: ", "time per release in ns: ", "start in ms"
CODE = """
import time
start = time.process_time()
%s
print("CPU time in ms:", (time.process_time() - start) * 1e3)
"""
LOOP = "for _ in range(%d): pass"
FIGHT = """
import threading
def turns():
    for _ in range(%d): pass
threads = [threading.Thread(target=turns) for _ in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""
RELEASES = """
import os, statistics
RELEASES, PAUSE = %d, range(%d)
def loop(turns=range(4000)):
    for _ in turns: pass
def release(releases=range(RELEASES), pause=PAUSE, stat=os.stat):
    for _ in releases:
        stat('/')
        for _ in pause: pass
ratios = []
for _ in range(%d):
    moments = []
    for step in (loop, release, loop):
        moments.append(time.perf_counter())
        step()
    a, b, c, d = moments + [time.perf_counter()]
    ratios.append((c - b) / ((b - a + d - c) / 2))
print("time per release in ns:", statistics.median(ratios) * 4000 * 25 / RELEASES)
"""
STARTS = 5


def pause_to(release_s):
    """Returns after how many turns of a loop, beside one os.stat, so many seconds have passed on this machine."""

    def seconds(statement):
        return statistics.median(timeit.repeat(statement, "import os", repeat=200, number=100)) / 100

    turns = 300
    stat, loop = seconds("os.stat('/')"), seconds(LOOP % turns)
    return round((release_s - stat) / loop * turns)


def programs(quick):
    size = 20 if quick else 1
    # With Python code between two releases, and without.
    return {
        "loop": LOOP % (30_000_000 // size),
        "fight": FIGHT % (5_000_000 // size),
        "100 kHz": RELEASES % (10, pause_to(10e-6), 3000 // size),
        "1 MHz": RELEASES % (100, 0, 3000 // size),
    }


def commands(busy, folder, path):
    """Returns how busy and each peer run the script."""

    def to(name):
        return os.path.join(folder, "record_cost" + name)

    py_spy = os.path.join(os.path.dirname(sys.executable), "py-spy")
    options = ["--gil", "--nonblocking", "--format", "raw", "-o", to(".txt"), "--"]
    return {
        "alone": [sys.executable, path],
        "busy": [busy, "record", "-o", to(".busy"), "--", sys.executable, path],
        "py-spy": [py_spy, "record", *options, sys.executable, path],
        "viztracer": [sys.executable, "-m", "viztracer", "--quiet", "-o", to(".json"), path],
        "profiling.sampling": [
            *(sys.executable, "-m", "profiling.sampling", "run", "--all-threads", "--gecko"),
            *("-o", to(".gecko.json"), path),
        ],
    }


def run(command):
    start = time.perf_counter()
    done = subprocess.run(command, capture_output=True, timeout=300)
    took = time.perf_counter() - start
    if done.returncode != 0:
        raise RuntimeError((done.stderr.decode().strip().splitlines() or ["no output"])[-1])
    return done.stdout, took


def printed(command):
    """Returns the times that the program has printed, by their names. Its recorder may have printed other lines."""
    output, _ = run(command)
    times = {}
    for line in output.decode().splitlines():
        times.update(
            (name, float(line[len(name) :])) for name in (CPU_MS, RELEASE_NS) if line.startswith(name)
        )
    if not times:
        raise ValueError("the program has printed no time")
    return times


def start_ms(command):
    return min(run(command)[1] for _ in range(STARTS)) * 1e3


def main(busy, folder, quick, *peers):
    # The bench has pinned this process to one core; a recorder is to have another one.
    os.sched_setaffinity(0, range(os.cpu_count()))
    path = os.path.join(folder, "record_cost.py")
    all_commands = {
        name: command for name, command in commands(busy, folder, path).items() if name in ("busy", *peers)
    }
    cases = {name: CODE % statement for name, statement in programs(quick == "quick").items()}
    cases["start"] = ""
    figures, missing = {}, {}
    for name, code in cases.items():
        with open(path, "w") as file:
            file.write(code)
        found = {}
        for tool, command in all_commands.items():
            try:
                found[tool] = printed(command) if code else {START_MS: start_ms(command)}
            except (OSError, RuntimeError, ValueError, subprocess.TimeoutExpired) as error:
                missing[name + " " + tool] = str(error)
        busy_times = found.pop("busy", None)
        if busy_times is None:
            missing[name] = missing[name + " busy"]
            continue
        for tool, times in found.items():
            kinds = (RELEASE_NS, CPU_MS, START_MS) if tool == "alone" else (CPU_MS, START_MS)
            kind = next(kind for kind in kinds if kind in times)
            figures[name + " " + tool] = [busy_times[kind], times[kind]]
    print(json.dumps({"figures": figures, "missing": missing}))


if __name__ == "__main__":
    main(*sys.argv[1:])
