"""The session begins in an interpreter with its own GIL (3.13 on: such an interpreter of 3.12 can't import ctypes). Its
GIL has the index 0, also after the interpreter has ended, and its interval ends then. The GIL of another interpreter at
the same address is another GIL."""

import sys
import time

import _interpreters as interpreters
from meter import close, snapshot, stop, window

first = interpreters.create()
failed = interpreters.exec(
    first, "import ctypes\nassert ctypes.PyDLL(%r).busy_gil_start() == 0" % sys.argv[1]
)
assert failed is None, failed
time.sleep(0.1)
own, _ = snapshot(0)
main, rows = snapshot(1)
assert (own.interpreter, main.interpreter) == (int(first), 0), (own.interpreter, main.interpreter)
assert main.metered and sum(row.state & 1 for row in rows.values()) == 1, "this thread holds the main GIL"

interpreters.destroy(first)
after = snapshot(0)[0]
time.sleep(0.1)
later = snapshot(0)[0]
assert (later.interpreter, later.gils) == (int(first), 2)
# The length of a tick is measured again and again, so equal times may differ by a few ns.
assert abs(later.metered_ns - after.metered_ns) < 1000 and after.metered_ns > 100000000, (after, later)

inner = window()
for _ in range(20):
    another = interpreters.create()
    assert interpreters.exec(another, "import time; time.sleep(0.01)") is None
    assert snapshot(0)[0].held_ns < later.held_ns + 1000, "expected no figures of another GIL"
    interpreters.destroy(another)
in_window = snapshot(0, inner)[0]
assert (in_window.interpreter, in_window.metered_ns) == (int(first), 0), "GIL 0 is in every window"
close(inner)
stop()
print("first")
