"""A start beside a metering copy of libbusy that has another ABI version is refused by name. The second argument is
patcher.c, built to look like such a copy."""

import sys

import meter
from other import Copy, Patcher

own, older = Copy(sys.argv[1]), Patcher(sys.argv[2])
for _ in range(3):
    older.install()
    assert own.library.busy_gil_start() == meter.REFUSED
    reason = own.reason()
    assert sys.argv[2] + " already meters this process. It has ABI 1.0" in reason, reason
    assert sys.argv[1] in reason and "install the same release" in reason, reason
    assert own.library.busy_gil_stop() == meter.OFF
    assert older.uninstall() > 0
    own.start()
    own.stop()
print("refused")
