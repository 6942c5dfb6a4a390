"""Prints the reason why the meter does not start here. Nothing of it may remain."""

from meter import HELD, OFF, REFUSED, reason

for _ in range(2):
    assert HELD.busy_gil_start() == REFUSED
    assert HELD.busy_gil_stop() == OFF
print(reason())
