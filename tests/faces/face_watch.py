"""Checks busy.watch and busy.check with a known hold and a known release, and prints "watched". On a free-threaded
interpreter, checks that the import fails with a clear error, and prints "refused"."""

import signal
import sys
import threading

signal.alarm(60)  # ends the process if a call does not end
try:
    import busy
except ImportError as error:
    assert "t" in sys.abiflags and "does not support free-threaded CPython" in str(error), error
    print("refused")
    sys.exit()

with busy.watch() as w:
    thread = threading.Thread(target=busy.with_lock, args=(0.1,), name="holds")
    thread.start()
    busy.without_lock(0.2)
    thread.join()
rows = {row.name: row for row in w.threads.values()}
assert set(rows) == {"MainThread", "holds"}, w
assert w.wall_s >= 0.2 and 0 < w.held_share < 1, w
assert 0.1 <= rows["holds"].longest_hold_s <= rows["holds"].held_s <= w.wall_s, w
assert 0 < rows["holds"].cpu_s < 0.2 and rows["MainThread"].cpu_s > 0, w
assert rows["MainThread"].acquisitions >= 1, w

for wait, verdict in ((busy.with_lock, "holds"), (busy.without_lock, "releases")):
    found = busy.check(wait, 0.03)
    assert found.verdict in (verdict, "inconclusive"), found
print("watched")
