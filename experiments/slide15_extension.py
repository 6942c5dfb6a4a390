"""Slides 15-17: a Python thread beside a native call that holds the GIL, and beside one that releases it.

usage: slide15_extension.py CASE SECONDS FOLDER MODULE

FOLDER/MODULE is an extension module with with_lock and without_lock: `busy` (PyO3), `busy_c` (C), or `slide12_cython`.
"""

import sys

from side_by_side import internal, main


def load(folder, name):
    """Imports a module from this folder. It may be that of another interpreter's packages, so it is not searched for
    anything else."""
    if sys.version_info < (3,):
        import imp

        return imp.load_module(name, *imp.find_module(name, [folder]))
    import importlib.machinery
    import importlib.util

    spec = importlib.machinery.PathFinder.find_spec(name, [folder])
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def beside(function):
    def loops(folder, module):
        return [("internal", internal), (function, getattr(load(folder, module), function))]

    return loops


CASES = {
    "internal+with_lock": beside("with_lock"),
    "internal+without_lock": beside("without_lock"),
}

if __name__ == "__main__":
    main(CASES, "CASE SECONDS FOLDER MODULE")
