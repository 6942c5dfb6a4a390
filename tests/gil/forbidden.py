"""The meter starts where process_vm_readv(2) is forbidden, as by a container's seccomp filter; with a further argument,
also where /proc/self/mem can't be opened, it names the forbidden call."""

import ctypes
import os
import struct
import sys

import meter

PROCESS_VM_READV, OPEN, OPENAT = 310, 2, 257


def forbid(calls):
    """Makes the system calls fail with EPERM (seccomp(2), Documentation/userspace-api/seccomp_filter.rst)."""
    load_number, equals, result = 0x20, 0x15, 0x06
    code = [struct.pack("HBBI", load_number, 0, 0, 0)]
    for call in calls:
        code.append(struct.pack("HBBI", equals, 0, 1, call))
        code.append(struct.pack("HBBI", result, 0, 0, 0x00050000 | 1))
    code.append(struct.pack("HBBI", result, 0, 0, 0x7FFF0000))
    text = ctypes.create_string_buffer(b"".join(code))
    program = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(code), ctypes.addressof(text)))
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    assert prctl(38, 1, 0, 0, 0) == 0 and prctl(22, 2, program, 0, 0) == 0, os.strerror(ctypes.get_errno())


forbid([PROCESS_VM_READV] + ([OPEN, OPENAT] if sys.argv[2:] else []))
if sys.argv[2:]:
    assert meter.HELD.busy_gil_start() == meter.REFUSED
    print(meter.reason())
else:
    meter.start()
    window = meter.window()
    meter.wait(meter.RELEASED, 1000)
    assert meter.snapshot(window=window)[0].acquisitions == 1
    meter.stop()
    print("metered")
