"""Runs CPython's own tests with the GIL meter running from start to end, beside the same tests without the meter, and
compares the outcome of each test.

python tests/regrtest/run.py BUSY LIBBUSY FOLDER [-p VERSION]... [-t FILE]... [--record]

BUSY is the command, which finds the interpreters; FOLDER receives the logs and results.json. Every CPython from 3.8 to
3.15 that has its tests (the package `test`) is used, or those named by -p. With --record, the tests run under
`busy record` instead, which meters their child processes as well. The exit code is 1 if a test fails with the
meter that never fails without it, or if the meter did not run.

A test whose outcomes differ is run again five times in each way. If it then fails with the meter, and never without,
the difference counts. Otherwise it is reported as flaky, with the number of its failures.
"""

import argparse
import collections
import concurrent.futures
import json
import os
import pathlib
import signal
import subprocess
import sys
import time
import typing
import xml.etree.ElementTree

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from processes import end_all  # noqa: E402

SUITE = (
    "test_threading test_thread test_queue test_signal test_fork1 test_subprocess test_concurrent_futures "
    "test_asyncio test_faulthandler test_socket test__xxsubinterpreters test__xxinterpchannels test__interpreters "
    "test__interpchannels test_interpreters"
).split()
# Tests that are not run: they use a fixed port of the machine, so two runs at the same time disturb each other. They
# hang or fail without the meter, too.
IGNORED = {"test_socket": "*VSOCK*"}
SITE = pathlib.Path(__file__).resolve().parent
# On a quiet machine, the longest file (test_asyncio) takes two minutes.
TIMEOUT_S = 600
AGAIN = 5
# The number of differences of a file that are shown.
SHOWN = 10
WAYS = ("off", "on")
# The outcome of the process itself is that of a test of this name.
ENDED = "(the process)"
# The reasons for processes without figures that ended before they had a GIL.
EARLY = ("it was killed at its start", "before it ran any code")
# Exit codes of `python -m test` (Lib/test/libregrtest/main.py); all others report failed tests.
EXITS = {0: "ok", 4: "no tests ran"}


class Meter(typing.NamedTuple):
    """What meters the tests: libbusy in their process, or the command `busy` from outside, if it is to record them."""

    libbusy: pathlib.Path
    recorder: pathlib.Path | None


class Run:
    """One file of tests in one interpreter, with the meter on or off."""

    def __init__(self, python, meter, folder, file, way, only=()):
        self._folder = folder / f"{python['name']}-{file}-{way}"
        self._folder.mkdir(parents=True, exist_ok=True)
        self._xml, self._log = self._folder / "junit.xml", self._folder / "meter.log"
        self._recorded = self._folder / "recorded.json"
        for old in (self._xml, self._log, self._recorded):
            old.unlink(missing_ok=True)
        self._mark = f"{os.getpid()}-{python['name']}-{file}-{way}-{time.monotonic_ns()}"
        self._environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self._folder),
            "LANG": "C.UTF-8",
            "PYTHONPATH": str(SITE),
            "PYTHONDONTWRITEBYTECODE": "1",
            "BUSY_REGRTEST_LIBBUSY": str(meter.libbusy),
            "BUSY_REGRTEST_METER": "off" if meter.recorder else way,
            "BUSY_REGRTEST_LOG": str(self._log),
            "BUSY_REGRTEST_RUN": self._mark,
        }
        self._command = [python["path"], "-m", "test", "-v", "--junit-xml", str(self._xml)]
        self._command += ["-i", IGNORED[file]] if file in IGNORED else []
        self._command += [word for name in only for word in ("-m", name)] + [file]
        if meter.recorder and way == "on":
            output = ["--output", self._folder / "recorded.busy", "--json", self._recorded]
            self._command = [meter.recorder, "record", *output, "--", *self._command]

    def outcomes(self):
        """Runs the tests and returns their outcomes by name."""
        with open(self._folder / "output.txt", "wb") as output:
            process = subprocess.Popen(
                self._command,
                cwd=self._folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
            try:
                code = process.wait(TIMEOUT_S)
                # As a shell does, `busy record` adds 128 to the signal that ended its program.
                number = -code if code < 0 else code - 128
                ended = f"signal {number}" if number > 0 else EXITS.get(code, "failed")
            except subprocess.TimeoutExpired:
                ended = f"over {TIMEOUT_S} s"
            finally:
                self.end_all()
                process.wait()
        found = {ENDED: ended}
        try:
            cases = list(xml.etree.ElementTree.parse(self._xml).iter("testcase"))
        except (FileNotFoundError, xml.etree.ElementTree.ParseError):
            # The process ended before it had written its results. All its tests are absent.
            return found
        for case in cases:
            children = {child.tag for child in case}
            failed = children & {"failure", "error"}
            found[case.get("name")] = "failed" if failed else "skipped" if "skipped" in children else "ok"
        return found

    def metered(self):
        """Returns how many processes started the meter, and the number that could not."""
        if self._recorded.exists():
            processes = json.loads(self._recorded.read_text())["results"][0]["processes"]
            reasons = [process.get("missing", {}).get("held_share", "") for process in processes]
            # Those that were killed at their start, or that only printed their version, had no GIL yet.
            return len(processes), sum(
                bool(reason) and not any(end in reason for end in EARLY) for reason in reasons
            )
        lines = self._log.read_text().split("\n")[:-1] if self._log.exists() else []
        return len(lines), sum(not line.endswith(" 0") for line in lines)

    def end_all(self):
        """Kills every process of this run. Tests start processes in sessions of their own, and leave some behind."""
        end_all("BUSY_REGRTEST_RUN", self._mark)


def both(python, meter, folder, file, only=()):
    """Runs a file with and without the meter at the same time. Returns the runs and their outcomes."""
    runs = [Run(python, meter, folder, file, way, only) for way in WAYS]
    with concurrent.futures.ThreadPoolExecutor() as pool:
        try:
            return runs, list(pool.map(Run.outcomes, runs))
        except BaseException:
            # After Ctrl-C or SIGTERM, the threads of the pool wait for the tests.
            for run in runs:
                run.end_all()
            raise


def bad(outcome):
    return outcome not in ("ok", "skipped", "no tests ran")


def compare(python, meter, folder, file):
    """Returns the report of one file in one interpreter."""
    began = time.monotonic()
    runs, (off, on) = both(python, meter, folder, file)
    processes, refused = runs[1].metered()
    seen = {name: [[off.get(name, "absent")], [on.get(name, "absent")]] for name in {*off, *on}}
    doubtful = sorted(name for name, (without, metered) in seen.items() if without != metered)
    # A file that hangs is run only once more.
    again = 1 if any(result[ENDED].startswith("over") for result in (off, on)) else AGAIN
    for _ in range(again if doubtful else 0):
        # Without its results, only the whole file can be run again.
        whole = ENDED in doubtful and (len(off) == 1 or len(on) == 1)
        only = () if whole else [name for name in doubtful if name != ENDED]
        _, results = both(python, meter, folder / "again", file, only)
        for name in doubtful:
            for outcomes, result in zip(seen[name], results, strict=True):
                outcomes.append(result.get(name, "absent"))
    fails = {name: [sum(map(bad, outcomes)) for outcomes in seen[name]] for name in doubtful}
    # The first run with the meter does not count here: every doubtful test differs in it.
    different = [name for name in doubtful if not fails[name][0] and any(map(bad, seen[name][1][1:]))]
    never_on = not processes or refused
    return {
        "python": python["name"],
        "file": file,
        "tests": len(on) - 1,
        "failed": [sum(map(bad, result.values())) - bad(result[ENDED]) for result in (off, on)],
        "ended": [off[ENDED], on[ENDED]],
        "failing": sorted(name for name in on if bad(on[name]) and bad(off.get(name, "absent"))),
        "metered_processes": processes,
        "different": [f"{name}: {seen[name]}" for name in different]
        + ([f"the meter was started in {processes} processes, and refused in {refused}"] if never_on else []),
        "flaky": {name: fails[name] for name in doubtful if name not in different},
        "took_s": round(time.monotonic() - began, 1),
    }


def pythons(busy, chosen):
    """Returns the CPythons from 3.8 on that have a GIL."""
    listed = json.loads(subprocess.check_output([busy, "pythons", "--json", "-"], timeout=120))
    for python in listed["interpreters"]:
        is_chosen = not chosen or any((python["name"] + ".").startswith(name + ".") for name in chosen)
        if python["implementation"] == "cpython" and python["gil"] and is_chosen:
            if (3, 8) <= tuple(python["version_info"]) <= (3, 15):
                yield python


def missing(python, files):
    """Returns which of `files` the interpreter's package `test` lacks."""
    query = (
        "import importlib.util, sys\n"
        "def has(name):\n"
        "    try: return importlib.util.find_spec(name) is not None\n"
        "    except ImportError: return False\n"
        "print(*[name for name in sys.argv[1:] if not (has('test.libregrtest') and has('test.' + name))])"
    )
    command = [python["path"], "-I", "-c", query, *files]
    return subprocess.check_output(command, text=True, timeout=60).split()


def show(report):
    off, on = report["failed"]
    ended = report["ended"][0] if len(set(report["ended"])) == 1 else " / ".join(report["ended"])
    result = "DIFFERENT" if report["different"] else "same"
    cells = (report["python"], report["file"], report["tests"], off, on, ended, report["took_s"], result)
    print("{:9} {:24} {:>6} {:>8} {:>8}  {:20} {:>6}  {}".format(*cells), flush=True)
    for line in report["different"][:SHOWN]:
        print(f"          {line}")
    if len(report["different"]) > SHOWN:
        print(f"          and {len(report['different']) - SHOWN} more, in results.json")
    for name, (without, metered) in report["flaky"].items():
        print(f"          flaky: {name}: failed {without} times without the meter, {metered} times with it")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("busy", type=pathlib.Path)
    parser.add_argument("libbusy", type=pathlib.Path)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("-p", dest="pythons", action="append", metavar="VERSION", help="[default: all]")
    parser.add_argument(
        "-t", dest="files", action="append", metavar="FILE", help="[default: the whole suite]"
    )
    parser.add_argument("--record", action="store_true", help="run the tests under `busy record`")
    arguments = parser.parse_args()
    # Ends the tests, as Ctrl-C does.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    busy, folder = arguments.busy.resolve(), arguments.folder.resolve()
    meter = Meter(arguments.libbusy.resolve(), busy if arguments.record else None)
    files, reports, skipped = arguments.files or SUITE, [], collections.defaultdict(list)
    heading = ("python", "file", "tests", "fail off", "fail on", "process ended", "s", "outcomes")
    print("{:9} {:24} {:>6} {:>8} {:>8}  {:20} {:>6}  {}".format(*heading), flush=True)
    for python in pythons(busy, arguments.pythons):
        lacking = missing(python, files)
        skipped[python["name"]] = lacking
        for file in files:
            if file not in lacking:
                reports.append(compare(python, meter, folder, file))
                show(reports[-1])
                (folder / "results.json").write_text(json.dumps(reports, indent=1))
    for file, pattern in IGNORED.items():
        if file in files:
            print(f"not run: {pattern} in {file}, which uses a fixed port")
    for name, lacking in skipped.items():
        if lacking:
            print(f"skipped in {name}, whose package `test` lacks them: {', '.join(lacking)}")
    for report in reports:
        if report["failing"]:
            print(f"fails both ways in {report['python']}: {', '.join(report['failing'])}")
    different = sum(bool(report["different"]) for report in reports)
    tests = sum(report["tests"] for report in reports)
    print(f"{tests} tests in {len(reports)} runs of a file: {different} runs differ")
    sys.exit(bool(different) or not reports)


if __name__ == "__main__":
    main()
