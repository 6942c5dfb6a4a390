"""Measures one round of the cost of psutil's Process(PID).threads(), called at HZ for SECONDS, in percent of a core.

python -I threads.py PID HZ SECONDS
"""

import json
import sys
import time

import psutil

process, hz, seconds = psutil.Process(int(sys.argv[1])), int(sys.argv[2]), float(sys.argv[3])
start, cpu = time.monotonic(), time.thread_time()
for number in range(1, 1 + round(seconds * hz)):
    process.threads()
    time.sleep(max(0, start + number / hz - time.monotonic()))
used = time.thread_time() - cpu
print(json.dumps({"figures": {"psutil": [100 * used / (time.monotonic() - start)]}}))
