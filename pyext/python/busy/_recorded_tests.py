"""`pytest --busy-record=FILE`: records a whole run of tests, and names the test of each stall.

pytest runs itself again under `busy record`. There, each process notes which test it runs, and when. At the end, the
outer pytest joins these notes with the stalls.
"""

import json
import os
import signal
import struct
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import monotonic_ns
from typing import Any, NamedTuple

from busy._installation import command
from busy._units import duration

# A recording begins with these bytes, then the head of its first block (docs/record.md).
_MARK = b"busy recording\x01\n"
_BLOCK = struct.Struct("<cII")
# The number of tests in the summary.
_TESTS = 10


class Refused(ValueError):
    """The run can't be recorded; the message has the reason."""


class Note(NamedTuple):
    """A test, with its start and end in nanoseconds on CLOCK_MONOTONIC."""

    test: str
    start: int
    end: int


@contextmanager
def noted(folder: str, test: str) -> Iterator[None]:
    """Notes that this process runs `test`, in a file of its own."""
    path = Path(folder, str(os.getpid()))
    start = monotonic_ns()
    try:
        # A second line follows at the end: a test that is killed has the first one only.
        _append(path, [start, None, test])
        yield
    finally:
        _append(path, [start, monotonic_ns(), test])


def _append(path: Path, line: list[Any]) -> None:
    # Notes of a run that has ended, or on a full disk, are not worth a failed test.
    try:
        with open(path, "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
    except OSError:
        pass


def rerun(file: str, arguments: Sequence[str], variable: str) -> int:
    """Runs this pytest, which was called with `arguments`, again under `busy record`, with the folder for the notes in
    an environment variable. Returns the exit code."""
    original = sys.orig_argv
    if list(arguments) != original[len(original) - len(arguments) :]:
        raise Refused(
            "--busy-record runs the command line of pytest again, but this pytest was called by another program: "
            "run that program by `busy record -- ...`"
        )
    recording = Path(file)
    if not recording.name or recording.suffix.lower() not in (".busy", ""):
        raise Refused(
            f"--busy-record expects the name of a recording, such as tests.busy, found {file!r}; "
            "`busy report` makes a page of a recording"
        )
    if not recording.parent.is_dir():
        raise Refused(
            f"--busy-record: there is no folder {str(recording.parent)!r}: make it, or name a file in another one"
        )
    figures = recording.with_suffix(".json")
    earlier = _version(figures)
    with tempfile.TemporaryDirectory(prefix="busy-tests-") as folder:
        record = [command(), "record", f"--output={recording}", f"--json={figures}", "--", *original]
        code = _run(record, {**os.environ, variable: folder})
        if _version(figures) == earlier:
            # `busy record` has reported the reason.
            return code
        try:
            summary = _join(recording, figures, _notes(Path(folder)))
        # The disk is full, most likely.
        except (OSError, ValueError) as error:
            summary = f"busy: the stalls have no tests: {error}\n"
    sys.stdout.write(summary)
    sys.stdout.flush()
    return code


def _version(path: Path) -> tuple[int, int] | None:
    """Returns what differs if the file is written or replaced; None without a file."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns


def _run(arguments: list[str], environment: dict[str, str]) -> int:
    # The terminal sends Ctrl-C to the recorded pytest too. A handler, unlike SIG_IGN, is not inherited.
    signal.signal(signal.SIGINT, lambda *_: None)
    child = subprocess.Popen(arguments, env=environment)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: child.send_signal(number))
    return child.wait()


def _notes(folder: Path) -> dict[int, list[Note]]:
    """Returns the notes of each process."""
    notes: dict[int, list[Note]] = {}
    for path in folder.iterdir():
        own: dict[tuple[int, str], Note] = {}
        for line in path.read_text(encoding="utf-8").splitlines():
            start, end, test = json.loads(line)
            own[start, test] = Note(test, start, sys.maxsize if end is None else end)
        notes[int(path.name)] = list(own.values())
    return notes


def _started(recording: Path) -> int:
    """Returns the start of the recording, on CLOCK_MONOTONIC."""
    with open(recording, "rb") as file:
        mark, head = file.read(len(_MARK)), file.read(_BLOCK.size)
        if mark != _MARK or len(head) < _BLOCK.size:
            raise ValueError(f"{recording} is no recording: expected {_MARK!r}, found {mark!r}")
        _, length, _ = _BLOCK.unpack(head)
        return int(json.loads(file.read(length))["monotonic_ns"])


def _join(recording: Path, figures: Path, notes: dict[int, list[Note]]) -> str:
    """Adds the test of each stall to the figures. Returns a summary."""
    document = json.loads(figures.read_text(encoding="utf-8"))
    start = _started(recording)
    lost: dict[str, float] = defaultdict(float)
    stalls: dict[str, int] = defaultdict(int)
    for result in document["results"]:
        parents = {process["pid"]: process["parent"] for process in result["processes"]}
        for process in result["processes"]:
            own = _own(process["pid"], parents, notes)
            for stall in process["stalls"]:
                test = _test(stall, start, own)
                if test is not None:
                    stall["test"] = test
                    lost[test] += stall["lost_s"]
                    stalls[test] += 1
    temporary = figures.with_name(f".{figures.name}-{os.getpid()}")
    try:
        temporary.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
        temporary.replace(figures)
    finally:
        temporary.unlink(missing_ok=True)
    worst = sorted(lost, key=lambda test: -lost[test])
    lines = [f"stalls of {len(worst)} {'test' if len(worst) == 1 else 'tests'}, in {figures}"]
    lines += [f"lost {duration(lost[test]):>8} {stalls[test]:>5}x  {test}" for test in worst[:_TESTS]]
    return "\n".join(lines) + "\n"


def _own(pid: int, parents: dict[int, int], notes: dict[int, list[Note]]) -> list[Note]:
    """Returns the notes of the process, or of the nearest ancestor that has some: a test may start processes."""
    seen = set()
    while pid not in notes and pid in parents and pid not in seen:
        seen.add(pid)
        pid = parents[pid]
    return notes.get(pid, [])


def _test(stall: dict[str, Any], start: int, notes: list[Note]) -> str | None:
    """Returns the test that ran for the longest part of the stall."""
    begin = start + round(stall["at_s"] * 1e9)
    end = begin + round(stall["length_s"] * 1e9)
    shared = [(min(end, note.end) - max(begin, note.start), note.test) for note in notes]
    longest = max(shared, default=(0, ""))
    return longest[1] if longest[0] > 0 else None
