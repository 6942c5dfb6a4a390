"""Finds the entries of CPython's object that lead into libbusy."""

import ctypes
import struct

from meter import HELD


def mappings():
    with open("/proc/self/maps") as maps:
        for line in maps:
            fields = line.split()
            if len(fields) == 6:
                begin, end = (int(part, 16) for part in fields[0].split("-"))
                yield begin, end, fields[1], fields[5]


def runtime():
    """Returns the addresses of `_PyRuntime`, which contains the function that the meter registers by Py_AtExit."""
    try:
        begin = ctypes.addressof(ctypes.c_char.in_dll(ctypes.pythonapi, "_PyRuntime"))
    except ValueError:
        return 0, 0
    # Its size is not known. The entries are in front of it.
    return begin, begin + (1 << 20)


def leading_into_libbusy():
    """Returns the number of words in the object of PyEval_SaveThread that are addresses in libbusy, and the
    permissions of the object's mappings."""
    save_thread = ctypes.cast(ctypes.pythonapi.PyEval_SaveThread, ctypes.c_void_p).value
    code = ctypes.cast(HELD.busy_gil_start, ctypes.c_void_p).value
    all_mappings = list(mappings())

    def file_at(address):
        return next(path for begin, end, _, path in all_mappings if begin <= address < end)

    libbusy = [(begin, end) for begin, end, _, path in all_mappings if path == file_at(code)]
    begin_code, end_code = min(libbusy)[0], max(libbusy)[1]
    found, rights, ignored = 0, [], runtime()
    with open("/proc/self/mem", "rb") as memory:
        for begin, end, right, path in all_mappings:
            if path == file_at(save_thread) and "x" not in right:
                rights.append((begin, end, right))
                memory.seek(begin)
                data = memory.read(end - begin)
                words = struct.unpack("{}Q".format(len(data) // 8), data[: len(data) // 8 * 8])
                found += sum(
                    begin_code <= word < end_code and not ignored[0] <= begin + 8 * index < ignored[1]
                    for index, word in enumerate(words)
                )
    return found, rights
