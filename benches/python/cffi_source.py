"""Writes the C source of `busy_cffi`, a binding of the peers in cffi's API mode, to FILE.

python -I cffi_source.py FILE
"""

import sys

import cffi

builder = cffi.FFI()
builder.cdef("uint64_t clock_loop_seconds(double seconds);")
builder.set_source("busy_cffi", "#include <stdint.h>\nuint64_t clock_loop_seconds(double seconds);")
builder.emit_c_code(sys.argv[1])
