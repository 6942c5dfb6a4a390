"""Three copies of libbusy in one process, started and stopped in every order: each must report the truth."""

import ctypes
import itertools
import json
import shutil
import tempfile

import entries
import meter
from other import check, copies, load

folder = tempfile.mkdtemp()
worst = {}
try:
    loaded = copies(folder, ["two", "three"])
finally:
    shutil.rmtree(folder)
for starts in itertools.permutations(range(3)):
    for stops in itertools.permutations(range(3)):
        order = "start {} stop {}".format(starts, stops)
        running = []
        for index in starts:
            loaded[index].start()
            running.append(index)
            windows = [(one, loaded[one].open()) for one in running]
            released = load()
            for one, window in windows:
                status, totals = loaded[one].read(window)
                assert status == meter.OK, (order, one, status, loaded[one].reason())
                worst[order] = max(worst.get(order, 0), check(totals, released, (order, one)))
                loaded[one].close(window)
        for index in stops:
            windows = [(one, loaded[one].open()) for one in running]
            loaded[index].stop()
            running.remove(index)
            released = load()
            for one, window in windows:
                status, totals = loaded[one].read(window)
                # A copy without a start of its own reports only if it is the one that meters for the others.
                if one == index and status == meter.OFF:
                    continue
                assert status == meter.OK, (order, one, status, loaded[one].reason())
                worst[order] = max(worst.get(order, 0), check(totals, released, (order, one)))
                loaded[one].close(window)
        assert loaded[0].library.busy_gil_stop() == meter.OFF
    # A start that the other copy refuses leaves both as they were.
    loaded[0].start(), loaded[1].start()
    released = ctypes.CDLL("", handle=loaded[1].library._handle)
    assert released.busy_gil_start() == meter.NOT_HELD and "PyDLL" in loaded[1].reason(), loaded[1].reason()
    loaded[1].stop(), loaded[0].stop()
    assert loaded[1].library.busy_gil_stop() == meter.OFF
    assert entries.leading_into_libbusy()[0] == 0, order
print(json.dumps(worst))
