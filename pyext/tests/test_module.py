"""The installed package."""

import importlib.metadata
import pathlib
import shutil
import subprocess
import sys

import busy
import pytest

WAITS = ["with_lock", "without_lock"]
METER = [
    "SlowTurn",
    "Stall",
    "StallLog",
    "log_stalls",
    "loop_delay",
    "Counters",
    "GilNotMeterable",
    "Histograms",
    "ThreadTimes",
    "Verdict",
    "WatchedThread",
    "check",
    "counters",
    "get_include",
    "get_library",
    "thread_times",
    "watch",
]
EXTENSION = pathlib.Path(busy._busy.__file__)


def test_names_and_version():
    assert sorted(busy.__all__) == sorted([*WAITS, *METER, "__version__"])
    assert busy.__version__ == importlib.metadata.version("busy-gil")
    for name in WAITS:
        assert "ValueError" in getattr(busy, name).__doc__


def test_has_type_stubs_and_supports_every_python_from_3_10_on():
    files = {path.name for path in pathlib.Path(busy.__file__).parent.iterdir()}
    assert {"py.typed", "_busy.pyi"} <= files
    assert EXTENSION.name == "_busy.abi3.so"


@pytest.mark.skipif(not shutil.which("readelf"), reason="readelf is not installed")
def test_links_no_libpython():
    # A link with libpython would load a second interpreter into a statically linked Python, such as Debian's.
    dynamic = subprocess.run(
        ["readelf", "--dynamic", "--wide", EXTENSION], check=True, capture_output=True, text=True
    ).stdout
    needed = [line for line in dynamic.splitlines() if "(NEEDED)" in line]
    assert needed
    assert not [line for line in needed if "python" in line]


def test_a_second_import_works(child):
    importing = child("""
        import importlib, busy
        importlib.reload(busy)
        for name in [name for name in sys.modules if name.split(".")[0] == "busy"]:
            del sys.modules[name]
        import busy as again
        assert again is not busy
        report(counts=[again.with_lock(0.02), again.without_lock(0.02), busy.without_lock(0.02)])
    """)
    assert all(importing.report()["counts"])


IMPORT_IN_SUBINTERPRETER = """
import sys
code = "try:\\n import busy\\nexcept ImportError as error:\\n print('ImportError:', error, flush=True)"
if sys.version_info >= (3, 14):
    from concurrent import interpreters
    interpreters.create().exec(code)
elif sys.version_info >= (3, 13):
    import _interpreters as interpreters
    interpreters.run_string(interpreters.create(), code)
else:
    import _xxsubinterpreters as interpreters
    interpreters.run_string(interpreters.create(), code)
"""


@pytest.mark.skipif(
    sys.version_info < (3, 12), reason="before 3.12 all interpreters of a process share one GIL"
)
@pytest.mark.parametrize("first", ["import busy", ""], ids=["imported before", "not imported before"])
def test_an_interpreter_with_its_own_gil_is_refused_with_a_clear_error(first):
    code = f"{first}\n{IMPORT_IN_SUBINTERPRETER}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("ImportError: ")
    assert "subinterpreter" in done.stdout
