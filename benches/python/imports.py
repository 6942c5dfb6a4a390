"""One round: how long `import busy` takes in a fresh interpreter, against `import ctypes`, in microseconds.

python -I imports.py PAIRS

The statement alone is timed, inside. The interpreters are those of this environment, in which pip has installed busy
with its .pyc; a pair that is not counted writes what bytecode may be missing, and warms the caches.
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
