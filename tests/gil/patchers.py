"""Another tool that redirects the same calls, before, between and after the meter's start and stop: each figure must be
true or refused with the reason, and the other tool must see every call. Further arguments: two builds of patcher.c."""

import json
import shutil
import sys
import tempfile

import entries
import meter
from other import Patcher, check, copies, load

folder = tempfile.mkdtemp()
try:
    own, second = copies(folder, ["two"])
finally:
    shutil.rmtree(folder)
patcher, other = Patcher(sys.argv[2]), Patcher(sys.argv[3])
worst = {}


def metered(what, copy=own, around=lambda body: body()):
    window = copy.open()
    released = around(load)
    status, totals = copy.read(window)
    assert status == meter.OK, (what, status, copy.reason())
    copy.close(window)
    worst[what] = max(worst.get(what, 0), check(totals, released, what))


def refused(what, copy=own, around=lambda body: body()):
    window = copy.open()
    around(load)
    status, _ = copy.read(window)
    assert status == meter.REFUSED, (what, status)
    assert "another tool has redirected CPython's calls" in copy.reason(), (what, copy.reason())
    copy.close(window)


def is_gone(what):
    # Reading all words of CPython's data takes long.
    assert turn > 1 or entries.leading_into_libbusy()[0] == 0, what


for turn in range(12):  # noqa: B007 - is_gone reads it
    patcher.install()
    own.start()
    metered("patcher before", around=patcher.sees)
    own.stop()
    patcher.sees(load)
    own.start()
    metered("patcher before, again", around=patcher.sees)
    own.stop()
    assert patcher.uninstall() > 0
    is_gone("patcher before")

    own.start()
    metered("patcher after")
    patcher.install()
    refused("patcher after", around=patcher.sees)
    own.stop()
    patcher.sees(load)
    # The patcher's hook calls the hook of the stopped meter, which passes the calls on.
    own.start()
    metered("patcher above a stopped meter", around=patcher.sees)
    own.stop()
    patcher.sees(load)
    patcher.uninstall()
    load()
    own.start()
    metered("after a patcher that put a hook of busy back")
    own.stop()
    is_gone("a patcher that put a hook of busy back")

    # A patcher that is taken off while the meter is above it, and finds that it can't be, passes the calls on.
    patcher.install()
    own.start()
    assert patcher.uninstall() == 0
    metered("patcher off below the meter")
    own.stop()
    load()
    own.start()
    metered("patcher off, still in the entry")
    own.stop()
    assert patcher.uninstall() > 0
    is_gone("patcher off")

    # One that does not look overwrites the meter's hooks.
    patcher.install()
    own.start()
    metered("patcher before")
    patcher.uninstall(1)
    refused("patcher restored what it had found")
    own.stop()
    is_gone("patcher restored what it had found")

    # It comes and goes while the meter runs.
    own.start()
    patcher.install()
    patcher.sees(load)
    patcher.uninstall()
    metered("patcher gone again")
    own.stop()
    is_gone("patcher gone again")

    # Two patchers and two copies. The second copy finds hooks of the first, and joins it.
    def both_see(body):
        return patcher.sees(lambda: other.sees(body))

    patcher.install()
    own.start()
    other.install()
    second.start()
    refused("second copy joined the first", second, both_see)
    own.stop()
    refused("second copy alone with the first's meter", second, both_see)
    second.stop()
    second.start()
    metered("second copy above two patchers", second, both_see)
    own.start()
    metered("both above two patchers", own, both_see)
    metered("both above two patchers", second, both_see)
    second.stop()
    metered("first copy with the second's meter", own, both_see)
    own.stop()
    other.uninstall()
    patcher.uninstall(1)
    load()
    own.start()
    metered("after two patchers")
    own.stop()
    is_gone("after two patchers")
print(json.dumps(worst))
