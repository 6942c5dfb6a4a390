"""Slides 15-17: a Python thread beside a native call that holds the GIL, and beside one that releases it.

usage: slide15_extension.py CASE SECONDS FOLDER MODULE

FOLDER/MODULE is an extension module with with_lock and without_lock: `busy` (PyO3), `busy_c` (C), or `slide12_cython`.
"""

import importlib
import sys

from side_by_side import internal, main


def beside(function):
    def loops(folder, module):
        sys.path.insert(0, folder)
        return [("internal", internal), (function, getattr(importlib.import_module(module), function))]

    return loops


CASES = {
    "internal+with_lock": beside("with_lock"),
    "internal+without_lock": beside("without_lock"),
}

if __name__ == "__main__":
    main(CASES, "CASE SECONDS FOLDER MODULE")
