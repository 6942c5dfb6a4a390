"""`pytest --busy-record` in a separate pytest process: it records the run, and names the test of each stall."""

import json
import os
import subprocess
import sys
import textwrap
import time

import pytest
from busy import _recorded_tests

if not getattr(sys, "_is_gil_enabled", lambda: True)():
    pytest.skip("there is no GIL in this interpreter", allow_module_level=True)

TESTS = """
    import json, os, subprocess, sys, threading, time

    CODE = '''
    import json, threading, time
    stop = []
    def want():
        while not stop:
            time.sleep(0.001)
    thread = threading.Thread(target=want)
    thread.start()
    data = list(range(600000))
    for _ in range(5):
        json.dumps(data)
        time.sleep(0.01)
    stop.append(1)
    thread.join()
    '''

    def test_that_stalls():
        exec(__import__("textwrap").dedent(CODE), {})

    def test_that_stalls_in_a_child():
        subprocess.run([sys.executable, "-c", __import__("textwrap").dedent(CODE)], check=True)

    def test_that_does_not():
        time.sleep(0.05)

    def test_that_fails():
        assert "BUSY_RECORD_TESTS" not in os.environ
"""


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs a test file with some options. Returns the process."""
    monkeypatch.delenv("BUSY_RECORD_TESTS", raising=False)
    path = tmp_path / "test_it.py"
    path.write_text(textwrap.dedent(TESTS))

    def run(*options, caller=("-m", "pytest")):
        command = [
            sys.executable,
            *caller,
            "-c",
            os.devnull,
            "--rootdir",
            tmp_path,
            "-p",
            "no:cacheprovider",
        ]
        return subprocess.run([*command, *options, path], capture_output=True, text=True, timeout=120)

    return run


@pytest.mark.parametrize("options", [[], ["-n", "2"]], ids=["alone", "under xdist"])
def test_each_stall_has_the_name_of_its_test(run, tmp_path, options):
    done = run(f"--busy-record={tmp_path}/tests.busy", *options)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "1 failed, 3 passed" in done.stdout, done.stdout + done.stderr
    assert (tmp_path / "tests.busy").read_bytes().startswith(b"busy recording")
    result = json.loads((tmp_path / "tests.json").read_text())["results"][0]
    # An interpreter that waits may stall, too, at its start: outside of all tests, or in one that starts it.
    stalls = [stall for process in result["processes"] for stall in process["stalls"]]
    dumps = [stall for stall in stalls if any("encoder.py" in frame for frame in stall["stack"])]
    names = {stall["test"] for stall in dumps}
    assert names == {"test_it.py::test_that_stalls", "test_it.py::test_that_stalls_in_a_child"}, (
        stalls,
        done.stderr,
    )
    assert "stalls of " in done.stdout and "x  test_it.py::test_that_stalls\n" in done.stdout, done.stdout
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".tests.json")]


def test_wrong_usage_is_named_and_runs_no_test(run, tmp_path):
    for name in ("", ".", "/"):
        done = run(f"--busy-record={name}")
        assert (
            f"--busy-record expects the name of a recording, such as tests.busy, found {name!r}"
            in done.stderr
        )
        assert done.returncode == pytest.ExitCode.USAGE_ERROR and "Traceback" not in done.stderr
    for name in ("tests.html", "test_a.py"):
        done = run(f"--busy-record={name}")
        assert done.returncode == 4, done.stdout + done.stderr
        assert "expects the name of a recording" in done.stderr and "passed" not in done.stdout
    done = run(f"--busy-record={tmp_path}/no/such/folder/tests.busy")
    assert done.returncode == pytest.ExitCode.USAGE_ERROR, done.stdout + done.stderr
    assert f"there is no folder '{tmp_path}/no/such/folder'" in done.stderr and "passed" not in done.stdout
    assert "the stalls have no tests" not in done.stderr + done.stdout


def test_a_pytest_that_another_program_calls_is_refused(run, tmp_path):
    caller = "import pytest, sys; sys.exit(pytest.main(['--busy-record=tests.busy', *sys.argv[1:]]))"
    done = run(caller=["-c", caller])
    assert done.returncode == 4 and "called by another program" in done.stderr, done.stdout + done.stderr


def test_a_test_is_noted_with_its_start_and_end(tmp_path):
    before = time.monotonic_ns()
    with _recorded_tests.noted(str(tmp_path), "one"):
        running = _recorded_tests._notes(tmp_path)
    with _recorded_tests.noted(str(tmp_path / "of a run that has ended"), "two"):
        after = time.monotonic_ns()
    [unfinished], [finished] = running[os.getpid()], _recorded_tests._notes(tmp_path)[os.getpid()]
    assert (unfinished.test, unfinished.end) == ("one", sys.maxsize)
    assert before <= finished.start == unfinished.start <= finished.end <= after


def test_a_stall_is_named_after_the_test_that_ran_for_most_of_it():
    note = _recorded_tests.Note
    notes = [note("one", 100, 200), note("two", 200, 900), note("killed", 1000, sys.maxsize)]

    def test(at, length):
        # Of many short holds, the holder's own part means little.
        return _recorded_tests._test({"at_s": at / 1e9, "length_s": length / 1e9, "held_s": 0.0}, 50, notes)

    assert [test(100, 60), test(130, 60), test(860, 30), test(0, 40), test(5000, 9)] == [
        "one",
        "two",
        None,
        None,
        "killed",
    ]


def test_a_process_without_notes_has_those_of_its_nearest_ancestor():
    notes = {1: ["of one"], 3: ["of three"]}
    parents = {1: 0, 2: 1, 3: 2, 4: 3, 5: 2, 6: 7, 7: 6}
    assert [_recorded_tests._own(pid, parents, notes) for pid in (1, 2, 3, 4, 5, 6)] == [
        ["of one"],
        ["of one"],
        ["of three"],
        ["of three"],
        ["of one"],
        [],
    ]
