"""Does a statement release the GIL? Checks it in one interpreter; it takes statements as `python -m timeit` does.

usage: check.py ORDER, with ORDER the JSON {"setup": "...", "statement": "...", "libbusy": "...",
"patience_s": 5}

It prints one line of JSON: {"metrics": {...}} with the result of `_verdict.verdict`, {"skipped": "reason"} if the setup
can't be imported, or {"failed": "reason"} if setup or statement raise an exception. Lines {"phase": {...}} before it
report what it is doing, in case it is ended. First it checks two calls whose verdicts are known; if it finds other
verdicts, the result is inconclusive. stdin is empty for setup and statement. Serves CPython 2.7 and 3.x.
"""

from __future__ import print_function

import ast
import functools
import json
import os
import platform
import sys
import traceback
import types
from timeit import default_timer as clock

from _ctypes_meter import Meter
from _units import duration
from _verdict import Refused, verdict

# The duration of the two known calls, in seconds.
KNOWN_S = 0.02
TRIES = 3
# The number of a traceback's last frames in a reason.
FRAMES = 3
# The advice for a check that takes too long.
LESS_WORK = (
    "A check calls the statement 3 to 12 times, and more often if a call takes less than 20 ms: raise --timeout, "
    "or give the call less work."
)


class Skipped(Exception):
    """This interpreter can't import a module of the setup."""


class Failed(Exception):
    """Setup or statement raised an exception."""


def describe(error):
    return "%s: %s" % (type(error).__name__, error) if str(error) else type(error).__name__


def where():
    """Returns the last frames of the exception that is being handled: " (statement:1, setup:2 in f)". Frames of this
    script and of those it calls come first and are left out."""
    frames = [tuple(frame)[:3] for frame in traceback.extract_tb(sys.exc_info()[2])]
    own = [index for index, frame in enumerate(frames) if frame[0] in ("setup", "statement")]
    frames = frames[own[0] :] if own else []
    named = [
        "%s:%d%s" % ("/".join(name.split("/")[-2:]), line, "" if function == "<module>" else " in " + function)
        for name, line, function in frames[-FRAMES:]
    ]
    return " (%s%s)" % ("... " if len(frames) > FRAMES else "", ", ".join(named)) if named else ""


def parse(order):
    """Returns the order. Python 3 has decoded its bytes by the locale, Python 2 has not."""
    return json.loads((order if isinstance(order, bytes) else os.fsencode(order)).decode("utf-8"))


def report_phase(fd, now, advice):
    """Reports what this script does from now on, and advice for the case that it reaches its time-out."""
    os.write(fd, (json.dumps({"phase": {"now": now, "advice": advice}}) + "\n").encode("ascii"))


class StdoutRedirected(object):
    """Redirects stdout to stderr in its block, since stdout is for this script's report."""

    def __enter__(self):
        sys.stdout.flush()
        self.saved = os.dup(1)
        os.dup2(2, 1)
        return self

    def report(self, now, advice):
        report_phase(self.saved, now, advice)

    def __exit__(self, *_):
        self.redirected = sys.stdout
        try:
            self.redirected.flush()
        except Exception:
            pass  # The statement may have closed or replaced it.
        os.dup2(self.saved, 1)
        sys.stdout = os.fdopen(self.saved, "w")


def inconclusive(reason):
    return {
        "verdict": "inconclusive",
        "held_share": None,
        "longest_hold_s": None,
        "longest_stall_s": None,
        "lower_bounds": {},
        "calls": 0,
        "disturbed": False,
        "reason": reason,
    }


def known_calls(libbusy):
    """Yields busy_wait_ns with the GIL held and with it released: a name, the call, and a test of the result."""
    import ctypes

    result = ctypes.create_string_buffer(64)
    for name, kind, is_right in (
        ("with_lock", "PyDLL", lambda found: found["verdict"] == "holds" or stalls(found) is True),
        ("without_lock", "CDLL", lambda found: found["verdict"] == "releases" or stalls(found) is False),
    ):
        library = getattr(ctypes, kind)(libbusy)
        wait = library.busy_wait_ns
        wait.argtypes = [ctypes.c_uint64, ctypes.c_void_p, ctypes.c_void_p]
        yield name, lambda wait=wait: wait(int(KNOWN_S * 1e9), None, result), is_right


def stalls(found):
    """Without a GIL: whether the call stalls a thread that stops the world. None with a GIL."""
    return found["longest_stall_s"] > KNOWN_S / 2 if found["verdict"] == "no-gil" else None


def self_test(meter, libbusy):
    """Returns the reason why this interpreter can't be checked on this machine now, or None."""
    found = verdict(meter, int)
    if not found["calls"]:
        return found["reason"]
    for name, call, is_right in known_calls(libbusy):
        for _ in range(TRIES):
            found = verdict(meter, call)
            if is_right(found):
                break
        else:
            reason = " (%s)" % found["reason"] if found["reason"] else ""
            expected = "holds" if name == "with_lock" else "releases"
            if found["disturbed"]:
                return "this machine is too busy to judge even a known call (the self-test's %s): %s" % (
                    name,
                    found["reason"],
                )
            return "self-test failed: expected %s for %s, measured %s%s" % (expected, name, found["verdict"], reason)
    return None


def compiled(source, name):
    """Compiles an expression, so that its value is returned, or else statements."""
    try:
        return compile(source, name, "eval", 0, True)
    except SyntaxError:
        return compile(source, name, "exec", 0, True)


def native_call(source, namespace):
    """For a statement that is a single call, whose function and arguments are constants, or names of what the setup has
    made: returns a function without arguments that makes this call, and of which no part is Python code. Returns None
    for other statements."""
    try:
        call = ast.parse(source.strip(), "statement", "eval").body
    except SyntaxError:
        return None
    if not isinstance(call, ast.Call) or getattr(call, "starargs", None) or getattr(call, "kwargs", None):
        return None
    nodes = [call.func] + call.args + [keyword.value for keyword in call.keywords]
    if not all(map(is_fixed, nodes)) or not all(keyword.arg for keyword in call.keywords):
        return None
    values = [eval(compile(ast.Expression(node), "statement", "eval"), namespace) for node in nodes]
    positional = 1 + len(call.args)
    names = [keyword.arg for keyword in call.keywords]
    return functools.partial(*values[:positional], **dict(zip(names, values[positional:])))


def is_fixed(node):
    while isinstance(node, ast.Attribute):
        node = node.value
    if isinstance(node, ast.UnaryOp):
        node = node.operand
    # The constants have classes of their own before 3.8.
    kinds = ("Name", "Constant", "Num", "Str", "Bytes", "NameConstant")
    return isinstance(node, tuple(vars(ast)[kind] for kind in kinds if kind in vars(ast)))


def run_setup(source, namespace):
    try:
        eval(compiled(source, "setup"), namespace)
    except ImportError as error:
        remedy = "Install the module for this interpreter, set PYTHONPATH, or name another one with -p."
        raise Skipped("a module of the setup can't be imported: %s%s. %s" % (describe(error), where(), remedy))
    except BaseException as error:
        raise Failed("the setup raised %s%s" % (describe(error), where()))


def arguments_of_calls(code, namespace, report):
    """Returns the arguments of the calls of eval(). Those of the first call are replaced once it has ended: it also
    reports its duration. The others call the statement without anything around it, so that nothing else is measured."""

    def first():
        start = clock()
        result = eval(code, namespace)
        report("after the first call of the statement, which took %s" % duration(clock() - start), LESS_WORK)
        arguments[:] = code, namespace
        return result

    arguments = ["first()", {"first": first}]
    return arguments


def check(order):
    given = parse(order)
    if platform.python_implementation() != "CPython":
        return inconclusive(
            "%s is not metered: name CPython 2.7, or 3.7 or later, with -p" % platform.python_implementation()
        )
    report_phase(1, "during the self-test that comes first", "Raise --timeout, or end other processes.")
    try:
        meter = Meter(given["libbusy"])
        reason = self_test(meter, given["libbusy"])
    except (ImportError, OSError, AttributeError) as error:
        reason = "libbusy can't be called by ctypes here: %s" % describe(error)
    if reason:
        return inconclusive(reason)
    # As python -m timeit does, for a module that was built in place.
    sys.path.insert(0, os.curdir)
    # The names belong to a module __main__, where pickle looks for them.
    main = sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        with StdoutRedirected() as stdout:
            stdout.report("during the setup", "Raise --timeout, or let the setup do less.")
            run_setup(given["setup"], vars(main))
            code = compiled(given["statement"], "statement")
            stdout.report("during the first call of the statement", LESS_WORK)
            calls = arguments_of_calls(code, vars(main), stdout.report)
            return verdict(
                meter,
                eval,
                calls,
                whole_process=True,
                patience=given["patience_s"],
                native=lambda: native_call(given["statement"], vars(main)),
            )
    except (Skipped, Failed):
        raise
    except Refused as reason:
        return inconclusive(str(reason))
    except BaseException as error:
        raise Failed("the statement raised %s%s" % (describe(error), where()))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    try:
        line = {"metrics": check(sys.argv[1])}
    except Skipped as reason:
        line = {"skipped": str(reason)}
    except Failed as reason:
        line = {"failed": str(reason)}
    print(json.dumps(line))
    sys.stdout.flush()
