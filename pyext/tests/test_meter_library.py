"""The module meters by the libbusy of its package, so that a process has one meter."""

import ctypes
import os
import pathlib
import shutil
import subprocess
import sys

import busy
import pytest

LIBRARY = pathlib.Path(busy.__file__).parent / "_lib" / "libbusy.so.1"

FORK_IN_FIRST_WATCH = """
import os, signal, sys, threading, time
import busy
busy.watch  # imports the modules, so that no import is under way at the fork
turn = int(sys.argv[1])
threads = [threading.Thread(target=busy.watch(time.sleep), args=(0,)) for _ in range(4)]
for thread in threads:
    thread.start()
for _ in range(turn * 20):
    pass
child = os.fork()
if child == 0:
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(10)
    with busy.watch() as w:
        busy.with_lock(0.002)
    os._exit(0 if w.threads[threading.get_native_id()].held_s >= 0.002 else 1)
status = os.waitpid(child, 0)[1]
for thread in threads:
    thread.join()
sys.exit(status != 0)
"""


def run(code, *arguments, **variables):
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, *map(str, arguments)],
        env={**os.environ, **{name: str(value) for name, value in variables.items()}},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_a_child_that_is_forked_during_the_first_watch_of_another_thread_can_watch():
    failed = [turn for turn in range(40) if run(FORK_IN_FIRST_WATCH, turn).returncode]
    assert failed == []


HOLDS = """
import ctypes, sys, threading, time
import busy
library = ctypes.PyDLL(sys.argv[1])
own_tid = threading.get_native_id()

def held():
    released = 0.0
    for _ in range(20):
        busy.with_lock(0.005)
        before = time.perf_counter()
        busy.without_lock(0.002)
        released += time.perf_counter() - before
    return released

def check(w, released):
    row = w.threads[own_tid]
    assert row.acquisitions >= 20, row
    assert row.held_s >= 0.1 and row.held_s <= w.wall_s - 20 * 0.002 + 0.001, (w.wall_s, row)
    assert row.held_s >= w.wall_s - released - 0.001, (w.wall_s, released, row)
"""

BOTH_ORDERS = (
    HOLDS
    + """
for _ in range(3):
    assert library.busy_gil_start() == 0
    with busy.watch() as w:
        released = held()
    check(w, released)
    assert library.busy_gil_stop() == 0
    with busy.watch() as w:
        assert library.busy_gil_start() == 0
        released = held()
        assert library.busy_gil_stop() == 0
    check(w, released)
    with busy.watch() as w:
        assert library.busy_gil_start() == 0
        released = held()
    check(w, released)
    with busy.watch() as w:
        released = held()
        assert library.busy_gil_stop() == 0
    check(w, released)
    assert library.busy_gil_stop() == 10
"""
)


@pytest.mark.parametrize("is_copy", [False, True], ids=["the same file", "a copy"])
def test_a_watch_and_another_libbusy_share_one_meter(tmp_path, is_copy):
    path = shutil.copy(LIBRARY, tmp_path) if is_copy else LIBRARY
    done = run(BOTH_ORDERS, path)
    assert done.returncode == 0, done.stderr


def test_busy_libdir_names_the_folder_of_libbusy(tmp_path):
    code = """
import busy
with busy.watch():
    pass
print([line.split()[-1] for line in open("/proc/self/maps") if "libbusy" in line][0])
"""
    shutil.copy(LIBRARY, tmp_path / "libbusy.so")
    assert run(code, BUSY_LIBDIR=tmp_path).stdout.strip() == str(tmp_path / "libbusy.so")
    done = run(code, BUSY_LIBDIR=tmp_path / "none")
    assert "GilNotMeterable" in done.stderr and "BUSY_LIBDIR" in done.stderr


ABI_1_0 = "unsigned busy_abi_version(void) { return 1 << 16; }"


@pytest.mark.skipif(not shutil.which("cc"), reason="there is no C compiler")
def test_a_libbusy_of_another_abi_is_refused_by_name(tmp_path):
    older = tmp_path / "libbusy.so"
    subprocess.run(
        ["cc", "-shared", "-fPIC", "-x", "c", "-", "-o", older], input=ABI_1_0, text=True, check=True
    )
    done = run("import busy\nwith busy.watch(): pass", BUSY_LIBDIR=tmp_path)
    assert f"{older} has ABI 1.0, this program needs " in done.stderr


OVERWRITTEN = """
import ctypes, sys
import busy
patcher = ctypes.PyDLL(sys.argv[1])
patcher.install.argtypes = [ctypes.c_size_t, ctypes.c_char_p]
save_thread = ctypes.cast(ctypes.pythonapi.PyEval_SaveThread, ctypes.c_void_p).value

def install():
    patcher.install(save_thread, b"pthread_cond_signal")
    busy.with_lock(0.001)

with busy.watch() as w:
    install()
try:
    w.held_share
except busy.GilNotMeterable as reason:
    print(reason)
assert patcher.uninstall(0)
found = busy.check(install)
assert found.verdict == "inconclusive" and "another tool has redirected" in found.reason, found
assert patcher.uninstall(0)
with busy.watch() as w:
    busy.with_lock(0.01)
assert w.held_share > 0.5
"""


@pytest.mark.skipif(not shutil.which("cc"), reason="there is no C compiler")
def test_figures_are_refused_if_another_tool_redirects_the_calls_meanwhile(tmp_path):
    source = pathlib.Path(__file__).parents[2] / "tests" / "gil" / "patcher.c"
    subprocess.run(["cc", "-shared", "-fPIC", source, "-o", tmp_path / "patcher.so"], check=True)
    done = run(OVERWRITTEN, tmp_path / "patcher.so")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("another tool has redirected CPython's calls")


def test_a_check_of_a_function_that_watches_is_conclusive():
    # Long beside what a watch itself holds: 0.2 ms, and 1.5 ms on a loaded machine.
    def watched(wait):
        with busy.watch():
            wait(0.1)

    for verdict, wait in (("releases", busy.without_lock), ("holds", busy.with_lock)):
        found = busy.check(watched, wait)
        assert found.verdict == verdict or found.disturbed, found


def test_the_library_is_loaded_by_the_first_watch_only():
    code = """
import busy
assert "libbusy" not in open("/proc/self/maps").read()
with busy.watch():
    pass
assert "libbusy" in open("/proc/self/maps").read()
"""
    assert run(code).returncode == 0


def test_the_library_of_the_package_reports_an_abi():
    assert ctypes.CDLL(str(LIBRARY)).busy_abi_version() >> 16 == 1
