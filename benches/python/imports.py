"""Measures one round of the duration of `import busy` and `import ctypes` in fresh interpreters, in microseconds.

python -I imports.py PAIRS

Each interpreter times the import statement alone. All are the interpreter of this environment, in which pip has
installed busy with its .pyc files. The first pair is not counted: it writes missing bytecode, and warms the caches.
"""

import json
import statistics
import subprocess
import sys

TIMED = "from time import perf_counter as now; t = now(); import {}; print((now() - t) * 1e6)"
MODULES = ("busy", "ctypes")


def fresh(module):
    command = [sys.executable, "-I", "-c", TIMED.format(module)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


times = {module: [] for module in MODULES}
for pair in range(1 + int(sys.argv[1])):
    for module in MODULES:
        time = fresh(module)
        if pair > 0:
            times[module].append(time)
figures = {"import": [statistics.median(times[module]) for module in MODULES]}
print(json.dumps({"figures": figures, "missing": {}}))
