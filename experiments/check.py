"""Does a statement release the GIL? Asked of one interpreter, as `python -m timeit` takes statements.

usage: check.py check SECONDS ORDER, with ORDER the JSON {"setup": "...", "statement": "...", "libbusy": "..."}

First it asks the same of two calls whose answers are known: where they don't come out, nothing else would.
"""

import json
import os
import sys
import types

import reporting
from _ctypes_meter import Meter
from _verdict import Refused, verdict

# The two known calls spin so long.
KNOWN_S = 0.02
TRIES = 3


class Raised(Exception):
    """What is being checked has raised, in the words given."""


def words(error):
    return "%s: %s" % (type(error).__name__, error) if str(error) else type(error).__name__


def order(text):
    """As it was given: Python 3 has decoded the bytes by the locale, Python 2 has not."""
    return json.loads((text if isinstance(text, bytes) else os.fsencode(text)).decode("utf-8"))


class StdoutAside(object):
    """What is written to stdout meanwhile goes to stderr: stdout is for what this script tells."""

    def __enter__(self):
        sys.stdout.flush()
        self.own = os.dup(1)
        os.dup2(2, 1)

    def __exit__(self, *_):
        self.given = sys.stdout
        try:
            self.given.flush()
        except Exception:
            pass  # It may have been closed, or replaced.
        os.dup2(self.own, 1)
        sys.stdout = os.fdopen(self.own, "w")


def inconclusive(reason):
    return {
        "verdict": "inconclusive",
        "held_share": None,
        "longest_hold_s": None,
        "longest_stall_s": None,
        "calls": 0,
        "reason": reason,
    }


def known(libbusy):
    """with_lock and without_lock, each with the test of what it must come out as."""
    import ctypes

    result = ctypes.create_string_buffer(64)
    for name, kind, is_right in (
        ("with_lock", "PyDLL", lambda told: told["verdict"] == "holds" or stalls(told) is True),
        ("without_lock", "CDLL", lambda told: told["verdict"] == "releases" or stalls(told) is False),
    ):
        library = getattr(ctypes, kind)(libbusy)
        wait = library.busy_wait_ns
        wait.argtypes = [ctypes.c_uint64, ctypes.c_void_p, ctypes.c_void_p]
        yield name, lambda wait=wait: wait(int(KNOWN_S * 1e9), None, result), is_right


def stalls(told):
    return told["longest_stall_s"] > KNOWN_S / 2 if told["verdict"] == "no-gil" else None


def unproven(meter, libbusy):
    """Why this interpreter can't be asked on this machine now; None if it can."""
    told = verdict(meter, int)
    if not told["calls"]:
        return told["reason"]
    for name, call, is_right in known(libbusy):
        for _ in range(TRIES):
            told = verdict(meter, call)
            if is_right(told):
                break
        else:
            return "the self-test failed: %s, of which it is known, came out as %s%s" % (
                name,
                told["verdict"],
                " (%s)" % told["reason"] if told["reason"] else "",
            )


def compiled(source, name):
    """An expression, whose value is seen, or else statements."""
    try:
        return compile(source, name, "eval", 0, True)
    except SyntaxError:
        return compile(source, name, "exec", 0, True)


def run(source, name, namespace):
    try:
        return eval(compiled(source, name), namespace)
    except Exception as error:
        if name == "setup" and isinstance(error, ImportError):
            raise reporting.Skip("its setup can't be imported here: %s" % words(error))
        raise Raised("the %s raised %s" % (name, words(error)))


def check(_, text):
    given = order(text)
    try:
        meter = Meter(given["libbusy"])
        reason = unproven(meter, given["libbusy"])
    except (ImportError, OSError, AttributeError) as error:
        reason = "libbusy can't be called by ctypes here: %s" % words(error)
    if reason:
        return inconclusive(reason)
    # Its names are those of a main module, as pickle wants to find them.
    main = sys.modules["__main__"] = types.ModuleType("__main__")
    aside = StdoutAside()
    try:
        with aside:
            run(given["setup"], "setup", vars(main))
            code = compiled(given["statement"], "statement")
            return verdict(meter, eval, (code, vars(main)))
    except (Raised, reporting.Skip):
        raise
    except Refused as reason:
        return inconclusive(str(reason))
    except BaseException as error:
        raise Raised("the statement raised %s" % words(error))


def told(seconds, *rest):
    try:
        return check(seconds, *rest)
    except Raised as reason:
        return {"failed": str(reason)}


if __name__ == "__main__":
    reporting.main({"check": told}, "check SECONDS ORDER")
