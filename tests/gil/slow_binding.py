"""The meter starts while another thread makes the process's first wait for the GIL, for which the dynamic linker binds
pthread_cond_timedwait (slow_binding.c, which is preloaded, makes that slow). The linker must not overwrite the hook:
then all readings would be refused, for a tool that does not exist. A stop must not unbind it, so that no later wait is
a first one, either."""

import ctypes
import time

from meter import snapshot, start, stop

held, released = ctypes.PyDLL(None), ctypes.CDLL(None)
held.begin.argtypes, held.begin.restype = [ctypes.c_long], ctypes.c_ulong
released.join.argtypes = [ctypes.c_ulong]
for _ in range(20):
    began = time.time()
    start()
    took_ns = (time.time() - began) * 1e9
    stop()
for number in range(1500):
    # At each moment of the start.
    thread = held.begin(int(took_ns * (number % 100 * 0.01)))
    start()
    released.join(thread)
    snapshot()
    stop()
print("bound")
