"""Prints the reason why the meter does not start here. The failed start must have no lasting effect."""

from meter import HELD, OFF, REFUSED, reason

for _ in range(2):
    assert HELD.busy_gil_start() == REFUSED
    assert HELD.busy_gil_stop() == OFF
print(reason())
