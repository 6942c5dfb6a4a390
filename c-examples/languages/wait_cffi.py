"""Waits on the CPU for a number of microseconds, by libbusy through cffi (pip install cffi), which reads busy.h.

python wait_cffi.py abi PREFIX 1500    # opens libbusy.so.1 at run time
python wait_cffi.py api PREFIX 1500    # compiles a module that is linked with it
"""

import importlib.util
import re
import sys
import tempfile
from pathlib import Path

import cffi


def declarations(header: Path) -> str:
    """Returns what cffi can read of a header of busy: the types, the functions, and the constants that are numbers."""
    text = re.sub(r"/\*.*?\*/", "", header.read_text(), flags=re.DOTALL)
    text = re.sub(r"^#ifdef __cplusplus.*?^#endif.*?$", "", text, flags=re.DOTALL | re.MULTILINE)
    constants = re.findall(r"^#define \w+ \d+$", text, flags=re.MULTILINE)
    # The other lines of the preprocessor, with the lines that continue them.
    text = re.sub(r"^#(.*\\\n)*.*$", "", text, flags=re.MULTILINE)
    return "\n".join([*constants, text])


def main(mode: str, prefix: str, us: str = "1000") -> None:
    folder = Path(prefix)
    ffi = cffi.FFI()
    ffi.cdef(declarations(folder / "include" / "busy.h"))
    if mode == "abi":
        busy = ffi.dlopen(str(folder / "lib" / "libbusy.so.1"))
        wait(ffi, busy, int(us) * 1000)
        return
    libraries = folder / "lib"
    ffi.set_source(
        "busy_cffi",
        "#include <busy.h>",
        include_dirs=[str(folder / "include")],
        library_dirs=[str(libraries)],
        libraries=["busy"],
        runtime_library_dirs=[str(libraries)],
    )
    with tempfile.TemporaryDirectory() as build:
        spec = importlib.util.spec_from_file_location("busy_cffi", ffi.compile(tmpdir=build))
        assert spec and spec.loader
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        wait(module.ffi, module.lib, int(us) * 1000)


def wait(ffi, busy, requested: int) -> None:
    """Waits. cffi releases the GIL during each call."""
    if busy.busy_abi_version() >> 16 != busy.BUSY_ABI_MAJOR:
        sys.exit(f"wait_cffi.py: expected libbusy with ABI {busy.BUSY_ABI_MAJOR}")

    def check(status: int) -> None:
        if status != busy.BUSY_OK:
            sys.exit(f"wait_cffi.py: {ffi.string(busy.busy_strerror(status)).decode()}")

    result = ffi.new("busy_wait_result *")
    before, after = ffi.new("uint64_t *"), ffi.new("uint64_t *")
    check(busy.busy_thread_cpu_ns(0, before))
    check(busy.busy_wait_ns(requested, ffi.NULL, result))
    check(busy.busy_thread_cpu_ns(0, after))
    print(f"requested  {requested:12d} ns\nelapsed    {result.elapsed_ns:12d} ns")
    print(f"cpu        {after[0] - before[0]:12d} ns\ncount      {result.count:12d} polls of CLOCK_MONOTONIC")


if __name__ == "__main__":
    main(*sys.argv[1:])
