"""Does a statement release the GIL? Checks it in one interpreter; it takes statements as `python -m timeit` does.

usage: check.py ORDER, with ORDER the JSON {"setup": "...", "statement": "...", "libbusy": "...",
"patience_s": 5}

It prints one line of JSON: {"metrics": {...}} with the result of `_verdict.verdict`, {"skipped": "reason"} if the setup
can't be imported, or {"failed": "reason"} if setup or statement raise an exception. First it checks two calls whose
verdicts are known; if it finds other verdicts, the result is inconclusive. Serves CPython 2.7 and 3.x.
"""

from __future__ import print_function

import json
import os
import sys
import types

from _ctypes_meter import Meter
from _verdict import Refused, verdict

# The duration of the two known calls, in seconds.
KNOWN_S = 0.02
TRIES = 3


class Skipped(Exception):
    """The setup can't be imported here."""


class Failed(Exception):
    """Setup or statement raised an exception."""


def describe(error):
    return "%s: %s" % (type(error).__name__, error) if str(error) else type(error).__name__


def parse(order):
    """Returns the order. Python 3 has decoded its bytes by the locale, Python 2 has not."""
    return json.loads((order if isinstance(order, bytes) else os.fsencode(order)).decode("utf-8"))


class StdoutRedirected(object):
    """Redirects stdout to stderr in its block, since stdout is for this script's report."""

    def __enter__(self):
        sys.stdout.flush()
        self.saved = os.dup(1)
        os.dup2(2, 1)

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
            return "self-test failed: expected %s for %s, measured %s%s" % (expected, name, found["verdict"], reason)
    return None


def compiled(source, name):
    """Compiles an expression, so that its value is returned, or else statements."""
    try:
        return compile(source, name, "eval", 0, True)
    except SyntaxError:
        return compile(source, name, "exec", 0, True)


def run_setup(source, namespace):
    try:
        eval(compiled(source, "setup"), namespace)
    except ImportError as error:
        raise Skipped("the setup can't be imported here: %s" % describe(error))
    except Exception as error:
        raise Failed("the setup raised %s" % describe(error))


def check(order):
    given = parse(order)
    try:
        meter = Meter(given["libbusy"])
        reason = self_test(meter, given["libbusy"])
    except (ImportError, OSError, AttributeError) as error:
        reason = "libbusy can't be called by ctypes here: %s" % describe(error)
    if reason:
        return inconclusive(reason)
    # The names belong to a module __main__, where pickle looks for them.
    main = sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        with StdoutRedirected():
            run_setup(given["setup"], vars(main))
            code = compiled(given["statement"], "statement")
            return verdict(meter, eval, (code, vars(main)), whole_process=True, patience=given["patience_s"])
    except (Skipped, Failed):
        raise
    except Refused as reason:
        return inconclusive(str(reason))
    except BaseException as error:
        raise Failed("the statement raised %s" % describe(error))


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
