"""Interpreters with their own GIL (3.12 on) are metered separately. A GIL that is idle, or held since before the start,
is listed as not metered. A new GIL at the address of a destroyed one counts as another GIL. A destroyed GIL is
listed until no window needs it, and then makes room for others."""

import sys
import threading
import time

from meter import close, snapshot, start, stop, tid, window

try:
    import _interpreters as interpreters  # 3.13 on

    run = interpreters.exec
except ImportError:
    import _xxsubinterpreters as interpreters

    run = interpreters.run_string

LOOP = "import time\nend = time.monotonic() + %g\nwhile time.monotonic() < end: pass"
tids = {}


def spin(interpreter, seconds, gate=None):
    tids[interpreter] = tid()
    run(interpreter, LOOP % seconds)


def gil_of(interpreter):
    gils = snapshot()[0].gils
    found = [gil for gil in range(gils) if snapshot(gil)[0].interpreter == interpreter]
    assert len(found) <= 1, found
    return snapshot(found[0]) if found else None


def number(interpreter):
    return int(getattr(interpreter, "id", interpreter))


def spun(interpreter, seconds, when=lambda: None):
    thread = threading.Thread(target=spin, args=(interpreter, seconds))
    thread.start()
    time.sleep(seconds / 2)
    when()
    thread.join()


early = interpreters.create()
holding = []


def begin_while_it_runs():
    start()
    totals, threads = gil_of(number(early))
    holding.append((totals.metered, totals.held_ns, len(threads)))
    # As long as it is open, the threads that end keep their rows.
    holding.append(window())


spun(early, 0.4, begin_while_it_runs)
assert holding[0] == (0, 0, 0), ("held since before the start, so the holder is unknown", holding)
totals, threads = gil_of(number(early))
assert totals.metered and totals.held_ns < 50000000, "its metering must begin with its release"

spun(early, 0.3)
totals, threads = gil_of(number(early))
assert threads[tids[early]].held_ns > 250000000, (threads, tids)
own, _ = snapshot(0)
assert own.interpreter == 0 and own.held_ns < own.metered_ns

late = interpreters.create()
spun(late, 0.3)
totals, threads = gil_of(number(late))
assert totals.metered and 250000000 < totals.held_ns <= totals.metered_ns
assert sum(row.held_ns for row in threads.values()) == totals.held_ns
assert tids[late] in threads and not [row for row in threads.values() if row.state & 1]

main, threads = snapshot(0)
for waiting in (early, late):
    assert threads[tids[waiting]].held_ns < 100000000, "it held another GIL"

interpreters.destroy(late)
for _ in range(3):
    again = interpreters.create()
    spun(again, 0.1)
    totals, threads = gil_of(number(again))
    assert 50000000 < totals.held_ns <= totals.metered_ns, "expected no figures of the previous GIL"
    interpreters.destroy(again)
assert gil_of(number(again)), "the window needs it"
close(holding.pop())
assert not gil_of(number(again)), "no window needs it"
# Its entry is used again. Rows with the number 0 are those of threads that have ended.
last = interpreters.create()
spun(last, 0.1)
totals, threads = gil_of(number(last))
assert totals.held_ns < 200000000, ("expected no figures of the previous GIL", totals.held_ns)
interpreters.destroy(last)
for _ in range(100):
    interpreters.destroy(interpreters.create())
totals, _ = snapshot()
assert (totals.gils, totals.unlisted_gils) == (2, 0), (totals.gils, totals.unlisted_gils)

# An interpreter without its own GIL may get the address of one that has ended.
for _ in range(8):
    interpreters.destroy(interpreters.create())
    sharing = (
        interpreters.create("legacy") if sys.version_info >= (3, 13) else interpreters.create(isolated=False)
    )
    assert snapshot()[0].gils == 2, "the GIL of an interpreter that has ended"
    interpreters.destroy(sharing)
stop()
print("separate")
