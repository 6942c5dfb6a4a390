"""Tests the module busy_c on CPython 2.7 and 3.x. tests/c_examples.rs compiles the module and runs this script."""

import signal
import sys
import threading
import time
from fractions import Fraction

import busy_c

BOTH = [busy_c.with_lock, busy_c.without_lock]
# The only clock of 2.7 drops fractions of a microsecond.
clock = getattr(time, "monotonic", time.time)
DROPPED = 0 if hasattr(time, "monotonic") else 2e-6


def end_if_stuck():
    """Arranges for SIGALRM to end the process. Its default action works even if no Python code runs any more."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(60)


def error_of(function, argument):
    try:
        function(argument)
    except Exception as error:
        return type(error)
    return None


def other_thread_runs_during(function, times):
    """Returns whether another thread runs while `function` is called up to `times` times, for 10 ms each.

    The switch interval is set so high that only an explicit release of the GIL lets the other thread run.
    """
    if hasattr(sys, "setswitchinterval"):
        sys.setswitchinterval(1000)
    else:
        sys.setcheckinterval(2**30)
        for _ in range(1000):  # lets the previous check interval run out
            pass
    ran = []
    gate = threading.Lock()
    gate.acquire()

    def other():
        with gate:
            ran.append(True)

    thread = threading.Thread(target=other)
    thread.start()
    gate.release()
    for _ in range(times):
        function(0.01)
        if ran:
            break
    seen = bool(ran)
    thread.join()
    return seen


def check_results():
    for function in BOTH:
        for argument in [0.001, 0, -0.0, False, Fraction(1, 1000)]:
            count = function(argument)
            # The type is neither bool nor 2.7's long.
            assert type(count) is int, type(count)
            assert (count > 0) == bool(float(argument)), (argument, count)
        before = clock()
        function(0.02)
        assert clock() - before >= 0.02 - DROPPED


def check_errors():
    refused = [
        (ValueError, [-1, -1e-300, float("nan"), float("inf"), -float("inf")]),
        # 9223372036.854776 is the first double greater than 2**63 - 1 nanoseconds.
        (OverflowError, [9223372036.854776, 9223372037, 1e300, 10**400]),
        (TypeError, ["1", None, [], 1j]),
    ]
    for function in BOTH:
        for expected, arguments in refused:
            for argument in arguments:
                assert error_of(function, argument) is expected, (argument, error_of(function, argument))


def check_ctrl_c_takes_effect_after_the_wait():
    def interrupt(number, frame):
        raise KeyboardInterrupt

    signal.signal(signal.SIGALRM, interrupt)
    for function in BOTH:
        interrupted = False
        before = clock()
        signal.setitimer(signal.ITIMER_REAL, 0.01)
        try:
            function(0.05)
            for _ in range(1000):  # CPython runs the handler between two bytecodes
                pass
        except KeyboardInterrupt:
            interrupted = True
        assert interrupted and clock() - before >= 0.05 - DROPPED
    end_if_stuck()


def check_the_gil():
    if not getattr(sys, "_is_gil_enabled", lambda: True)():
        return
    assert not other_thread_runs_during(busy_c.with_lock, 3)
    assert other_thread_runs_during(busy_c.without_lock, 1000)


def check_an_interpreter_with_its_own_gil():
    if sys.version_info < (3, 12):
        return
    try:
        import _interpreters as interpreters
    except ImportError:
        import _xxsubinterpreters as interpreters
    own = interpreters.create()  # by default it is isolated, and so has its own GIL
    failure = interpreters.run_string(own, "import busy_c; assert busy_c.with_lock(0.001) > 0")
    assert failure is None, failure
    interpreters.destroy(own)


end_if_stuck()
check_results()
check_errors()
check_ctrl_c_takes_effect_after_the_wait()
check_the_gil()
check_an_interpreter_with_its_own_gil()
print("all as expected")
