"""busy.log_stalls: a line for each hold of the GIL that made other threads wait for long."""

import json
import logging
import os
import re
import subprocess
import sys
import textwrap
import threading
import time

import busy
import pytest

if not getattr(sys, "_is_gil_enabled", lambda: True)():
    pytest.skip("there is no GIL to meter in this interpreter", allow_module_level=True)


class Lines(logging.Handler):
    """Keeps the records, and lets a test wait for one."""

    def __init__(self):
        super().__init__()
        self.records, self.came = [], threading.Condition()

    def emit(self, record):
        with self.came:
            self.records.append(record)
            self.came.notify_all()

    def wait_for(self, wanted, seconds=20):
        with self.came:
            self.came.wait_for(lambda: any(map(wanted, self.records)), seconds)
            return [record for record in self.records if wanted(record)]

    def stalls_of(self, name):
        return self.wait_for(
            lambda record: getattr(record, "gil_stall", None) and record.gil_stall.name == name
        )


@pytest.fixture
def lines():
    """The lines of a logger of this test alone."""
    logger = logging.getLogger(f"busy.test.{time.monotonic_ns()}")
    logger.propagate = False
    handler = Lines()
    handler.logger = logger
    logger.addHandler(handler)
    yield handler
    logger.removeHandler(handler)


class Waiting:
    """A thread that requests the GIL all the time."""

    def __enter__(self):
        self.over = False
        self.thread = threading.Thread(target=self.run, name="waiting")
        self.thread.start()
        return self

    def run(self):
        while not self.over:
            time.sleep(0.001)

    def __exit__(self, *_):
        self.over = True
        self.thread.join()


def hold_for(seconds):
    busy.with_lock(seconds)


def dump_for(seconds):
    """Holds the GIL in the C code of json for about that long."""
    data, start = [0] * 100_000, time.perf_counter()
    json.dumps(data)
    each_s = (time.perf_counter() - start) / len(data)
    data *= max(1, round(seconds / each_s / len(data)))
    json.dumps(data)


def named(target, *args):
    thread = threading.Thread(target=target, args=args, name=f"holder of {target.__name__}")
    thread.start()
    thread.join()
    return thread.name


def test_a_stall_is_logged_with_its_thread_its_length_its_waiters_and_its_stack(lines):
    with busy.log_stalls("100ms", logger=lines.logger), Waiting():
        # On a loaded machine, the thread that reads the stack may get no core.
        for attempt in range(5):
            # The thread ends before its line is logged.
            thread = threading.Thread(target=hold_for, args=(0.3,), name=f"holder {attempt}")
            thread.start()
            found = lines.stalls_of(thread.name)
            thread.join()
            if found and found[0].gil_stall.stack and found[0].gil_stall.waiters:
                break
    assert found, [record.getMessage() for record in lines.records]
    stall = found[0].gil_stall
    assert stall.held_s >= 0.3 and stall.waiting >= 1 and stall.tid == thread.native_id
    waits = {name: waited_s for _, name, waited_s in stall.waiters}
    assert 0.1 < waits["waiting"] <= stall.held_s, waits
    assert stall.missing is None and "hold_for" in stall.stack[0] and "run" in stall.stack[1], stall
    assert __file__ in stall.stack[0]
    assert found[0].levelno == logging.WARNING and found[0].name == lines.logger.name
    message = found[0].getMessage()
    assert (
        "GIL held for " in message
        and f" by {thread.name} ({thread.native_id}), while " in message
        and re.search(r"\bwaiting \(\d+\)( waited)? for \d", message)
        and message.count(" waited ") == 1
    ), message
    assert "hold_for" in message and "\n" not in message


def test_a_call_of_c_code_is_named_by_the_function_that_calls_it(lines):
    with busy.log_stalls("50ms", logger=lines.logger), Waiting():
        for _ in range(5):
            named(dump_for, 0.4)
            found = lines.wait_for(
                lambda record: (
                    hasattr(record, "gil_stall")
                    and any("dump_for" in frame for frame in record.gil_stall.stack[1:])
                ),
                5,
            )
            if found:
                break
    assert found, [record.getMessage() for record in lines.records]
    assert any("json" in frame for frame in found[0].gil_stall.stack), found[0].gil_stall


def test_a_hold_that_makes_nobody_wait_is_no_stall(lines):
    with busy.log_stalls("20ms", logger=lines.logger):
        others = [thread.name for thread in threading.enumerate()]
        time.sleep(0.05)
        hold_for(0.2)
        time.sleep(0.1)
    if set(others) == {"MainThread", "busy.stalls"}:
        assert not lines.records, [record.getMessage() for record in lines.records]


def test_the_thread_that_logs_a_stall_is_not_among_those_that_waited(lines):
    begun = threading.Event()

    def hold_twice():
        begun.set()
        hold_for(0.1)
        # Long enough for the other threads, and too short for the log, which then waits during the second hold.
        time.sleep(0.002)
        hold_for(0.3)

    with busy.log_stalls("50ms", logger=lines.logger):
        for _ in range(5):
            begun.clear()
            thread = threading.Thread(target=hold_twice)
            thread.start()
            while not begun.is_set():
                time.sleep(0.0005)
            thread.join()
        time.sleep(0.1)
    stalls = [record.gil_stall for record in lines.records]
    assert any(stall.waiters for stall in stalls), stalls
    assert "busy.stalls" not in {name for stall in stalls for _, name, _ in stall.waiters}, stalls


def test_a_hold_below_the_threshold_is_no_stall(lines):
    with busy.log_stalls("10s", logger=lines.logger), Waiting():
        hold_for(0.2)
        time.sleep(0.1)
    assert not lines.records


def test_of_many_stalls_few_lines_are_logged_and_the_others_are_counted(lines):
    with busy.log_stalls("1ms", logger=lines.logger, per_minute=5) as log, Waiting():
        for _ in range(100):
            hold_for(0.004)
            time.sleep(0.002)
        time.sleep(0.1)
        log.stop()
    stalls = [record for record in lines.records if record.gil_stall]
    assert len(stalls) == 5, len(stalls)
    rest = [record for record in lines.records if not record.gil_stall]
    [summary] = [record for record in rest if "not logged" in record.getMessage()]
    assert summary.args[0] >= 10, summary.getMessage()


def test_a_stall_that_ends_just_before_the_stop_is_logged(lines):
    for _ in range(5):
        with busy.log_stalls("20ms", logger=lines.logger), Waiting():
            time.sleep(0.05)
            named(hold_for, 0.05)
    # A waiter without a core does not wait.
    assert len(lines.records) >= 3, [record.getMessage() for record in lines.records]


def test_holds_that_came_too_fast_are_not_called_stalls(lines):
    log = busy.log_stalls("10s", logger=lines.logger)
    log._take(None, 7)
    log.stop()
    [record] = lines.records
    assert record.getMessage() == "7 long holds of the GIL came too fast to be examined"


def test_a_handler_that_raises_does_not_end_the_log(lines, monkeypatch):
    errors = []
    monkeypatch.setattr(threading, "excepthook", lambda arguments: errors.append(arguments.exc_value))
    broken = logging.Filter()
    broken.filter = lambda record: 1 / 0
    lines.logger.addFilter(broken)
    with busy.log_stalls("20ms", logger=lines.logger), Waiting():
        time.sleep(0.02)
        for _ in range(20):
            hold_for(0.05)
            time.sleep(0.05)
            if errors:
                break
        lines.logger.removeFilter(broken)
        name = named(hold_for, 0.2)
        assert len(lines.stalls_of(name)) == 1
    assert errors and isinstance(errors[0], ZeroDivisionError)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork(2)")
def test_a_forked_child_neither_counts_nor_reports_the_stalls_of_its_parent():
    code = """
        import busy, logging, os, sys, time, warnings
        warnings.simplefilter("ignore")
        logging.basicConfig(stream=sys.stdout, format="%(process)d %(message)s")
        log = busy.log_stalls("10s", per_minute=1)
        stall = busy.Stall(0, 1, "holder", 0.0, 1.0, 1, [], ["f.py:1 f"], None)
        for missed in 0, 3:
            log._take(stall, missed)
        pid = os.fork()
        if not pid:
            log._take(stall, 0)
            log.stop()
            sys.stdout.flush()
            os._exit(0)
        os.waitpid(pid, 0)
        print("child", pid)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=60
    )
    pid = re.search(r"^child (\d+)$", done.stdout, re.M)[1]
    own = [line for line in done.stdout.splitlines() if line.startswith(f"{pid} ")]
    assert len(own) == 1 and "GIL held for 1 s by holder" in own[0], done.stdout + done.stderr
    # The parent has its first line, and the numbers of the others at its end.
    assert len(done.stdout.splitlines()) == 5, done.stdout


def test_without_native_threads_the_log_is_refused():
    code = """
        import busy, sys, types
        monkey = sys.modules["gevent.monkey"] = types.ModuleType("gevent.monkey")
        monkey.is_module_patched = lambda name: name == "threading"
        try:
            busy.log_stalls()
        except busy.GilNotMeterable as reason:
            print(reason)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=60
    )
    assert "gevent has replaced the threads" in done.stdout, done.stderr


def test_logs_of_two_thresholds_do_not_disturb_each_other(lines):
    with busy.log_stalls("50ms", logger=lines.logger), Waiting():
        with busy.log_stalls("5s", logger=lines.logger) as coarse:
            time.sleep(0.01)
        coarse.stop()
        name = named(hold_for, 0.2)
        found = lines.stalls_of(name)
    assert len(found) == 1, [record.getMessage() for record in lines.records]


def test_after_the_stop_there_is_no_thread_and_no_meter():
    code = """
import busy, threading, ctypes
log = busy.log_stalls("10ms")
assert [one.name for one in threading.enumerate()] == ["MainThread", "busy.stalls"]
library = ctypes.PyDLL(f"{busy.get_library()}/libbusy.so.1")
log.stop()
log.stop()
assert [one.name for one in threading.enumerate()] == ["MainThread"]
assert library.busy_gil_stop() == 10, "BUSY_GIL_OFF"
"""
    run(code)


def test_after_ctrl_c_during_the_stop_the_log_ends_nevertheless():
    code = """
import busy, ctypes, logging, os, signal, threading, time
from busy import _ended_threads
signal.signal(signal.SIGINT, signal.default_int_handler)
class Slow(logging.Handler):
    lines = []
    def emit(self, record):
        handling.set()
        time.sleep(1)
        self.lines.append(record.getMessage())
logging.getLogger("busy").addHandler(Slow())
logging.getLogger("busy").propagate = False
library = ctypes.PyDLL(f"{busy.get_library()}/libbusy.so.1")
for again in range(2):
    handling, over = threading.Event(), False
    del Slow.lines[:]
    log = busy.log_stalls("20ms", per_minute=1)
    def wait():
        while not over:
            time.sleep(0.002)
    waiting = threading.Thread(target=wait)
    waiting.start()
    while not handling.is_set():
        busy.with_lock(0.06)
        time.sleep(0.01)
    for _ in range(3):
        busy.with_lock(0.06)
        time.sleep(0.01)
    over = True
    waiting.join()
    threading.Timer(0.1, os.kill, [os.getpid(), signal.SIGINT]).start()
    try:
        log.stop()
    except KeyboardInterrupt:
        pass
    else:
        raise AssertionError("the stop was not interrupted")
    # A second call waits, and without one the end comes as well.
    if again:
        log.stop()
    else:
        end = time.monotonic() + 20
        while len(threading.enumerate()) > 1 and time.monotonic() < end:
            time.sleep(0.01)
    assert [one.name for one in threading.enumerate()] == ["MainThread"]
    assert "more stalls of the GIL were not logged" in Slow.lines[-1], Slow.lines
    assert not _ended_threads._recorders and type(threading._active) is dict
    assert library.busy_gil_stop() == 10, "BUSY_GIL_OFF"
"""
    run(code)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork(2)")
def test_a_log_that_is_being_stopped_during_a_fork_has_ended_in_the_child():
    run("""
        import busy, ctypes, logging, os, threading, time
        class Slow(logging.Handler):
            def emit(self, record):
                handling.set()
                time.sleep(1)
        logging.getLogger("busy").addHandler(Slow())
        logging.getLogger("busy").propagate = False
        library = ctypes.PyDLL(f"{busy.get_library()}/libbusy.so.1")
        log = busy.log_stalls("20ms")
        handling, over = threading.Event(), threading.Event()
        def wait():
            while not over.is_set():
                time.sleep(0.002)
        waiting = threading.Thread(target=wait)
        waiting.start()
        while not handling.is_set():
            busy.with_lock(0.06)
            time.sleep(0.01)
        stopping = threading.Thread(target=log.stop)
        stopping.start()
        while not log._reporter._is_stopping:
            time.sleep(0.001)
        child = os.fork()
        if child == 0:
            is_off = library.busy_gil_stop() == 10
            log.stop()
            os._exit(0 if is_off and [one.name for one in threading.enumerate()] == ["MainThread"] else 1)
        assert os.waitpid(child, 0)[1] == 0
        over.set()
        waiting.join()
        stopping.join()
    """)


def run(code):
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


def test_a_program_that_never_stops_the_log_ends():
    found = run("""
        import busy, logging, threading, time
        logging.basicConfig()
        busy.log_stalls("20ms")
        over = []
        def wait():
            while not over:
                time.sleep(0.001)
        threading.Thread(target=wait, name="waiting").start()
        time.sleep(0.01)
        busy.with_lock(0.3)
        time.sleep(0.3)
        over.append(True)
    """)
    assert "WARNING:busy:GIL held for " in found and "by MainThread" in found, found


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork(2)")
def test_a_forked_child_goes_on_with_a_log_of_its_own():
    run("""
        import busy, logging, os, sys, threading, time
        class Lines(logging.Handler):
            found = []
            def emit(self, record):
                self.found.append(record.gil_stall)
        logging.getLogger("busy").addHandler(Lines())
        logging.getLogger("busy").propagate = False
        def stalls(name):
            over = []
            def wait():
                while not over:
                    time.sleep(0.001)
            thread = threading.Thread(target=wait, name=name)
            thread.start()
            for _ in range(10):
                time.sleep(0.01)
                busy.with_lock(0.2)
                time.sleep(0.3)
                # On a loaded machine, a thread that loses its core in the middle of a hold is a stall, too.
                found = [
                    stall for stall in Lines.found
                    if stall.name == "MainThread" and stall.stack
                    and name in [waiter for _, waiter, _ in stall.waiters]
                ]
                if found:
                    break
            over.append(True)
            thread.join()
            return found

        # The first child begins the log, the second one goes on with that of its parent.
        for is_inherited in (False, True):
            log = busy.log_stalls("20ms") if is_inherited else None
            child = os.fork()
            if child == 0:
                log = log or busy.log_stalls("20ms")
                found = stalls("in the child")
                log.stop()
                os._exit(0 if found and "<module>" in found[0].stack[-1] else 1)
            assert os.waitpid(child, 0)[1] == 0
        assert stalls("in the parent")
        log.stop()
        child = os.fork()
        if child == 0:
            os._exit(len(threading.enumerate()) - 1)
        assert os.waitpid(child, 0)[1] == 0, "a log that was stopped must not go on in a child"
    """)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork(2)")
def test_after_the_stop_in_forked_children_there_is_no_meter():
    run("""
        import busy, ctypes, os
        library = ctypes.PyDLL(f"{busy.get_library()}/libbusy.so.1")
        def fork(generations):
            child = os.fork()
            if child == 0:
                is_off = generations == 1 or fork(generations - 1)
                log.stop()
                os._exit(0 if is_off and library.busy_gil_stop() == 10 else 1)
            return os.waitpid(child, 0)[1] == 0
        log = busy.log_stalls("10ms")
        assert fork(3)
        log.stop()
        assert library.busy_gil_stop() == 10, "BUSY_GIL_OFF"
    """)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"threshold": "0.5ms"}, ValueError),
        ({"threshold": "soon"}, ValueError),
        ({"threshold": None}, TypeError),
        ({"per_minute": 0}, ValueError),
        ({"per_minute": 1.5}, ValueError),
        ({"level": "WARNING"}, TypeError),
        ({"level": None}, TypeError),
        ({"logger": None}, TypeError),
        ({"logger": 5}, TypeError),
    ],
)
def test_wrong_arguments_are_refused(arguments, error):
    with pytest.raises(error, match=next(iter(arguments))):
        busy.log_stalls(**arguments)


def test_a_threshold_that_is_refused_is_reported_with_its_limits():
    for threshold in (1e9, "300000h", 0.0001):
        with pytest.raises(
            ValueError, match="threshold: expected at least 1ms and less than 1e9 seconds, found"
        ):
            busy.log_stalls(threshold)


def test_a_line_says_who_waited_for_how_long():
    from busy._stalls import Stall, describe

    def line(waiting, waiters):
        return describe(Stall(0, 7, None, 0.0, 0.3, waiting, waiters, ["a.py:1 work"], None))

    a, b = (8, "a for b", 0.2), (9, None, 0.1)
    begin = "GIL held for 300 ms by thread 7, while "
    assert line(1, []) == begin + "1 thread waited: a.py:1 work"
    assert line(3, []) == begin + "3 threads waited: a.py:1 work"
    assert line(1, [a]) == begin + "a for b (8) waited for 200 ms: a.py:1 work"
    assert (
        line(4, [a, b])
        == begin + "a for b (8) waited for 200 ms, thread 9 for 100 ms and 2 more: a.py:1 work"
    )
