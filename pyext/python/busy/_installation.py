"""Where the files of this installation are: the command, the headers, and libbusy for C programs.

`busy-config` prints the flags with which a C compiler uses them.
"""

import argparse
import os
import sys
from pathlib import Path

_PACKAGE = Path(__file__).parent


class NotInstalled(RuntimeError):
    """A part of busy is not in this installation; the message explains how to get it."""


def get_include() -> str:
    """Returns the folder of busy.h and busy_gil.h. Raises RuntimeError if this installation has none."""
    return str(_existing(_PACKAGE / "include", "the headers"))


def get_library() -> str:
    """Returns the folder of libbusy.so.1, which dlopen(3) opens. In a wheel, libbusy.so for the linker is there, too.
    Raises RuntimeError if this installation has none."""
    return str(_existing(_PACKAGE / "_lib", "libbusy"))


def command() -> str:
    """Returns the path of the command `busy` that was installed or built with this package."""
    folders = [*_PACKAGE.parents]
    # What pip records after `pip install --target` leads to another folder, so that one is first.
    target = [folder / "bin" / "busy" for folder in folders[:1]]
    beside = [
        *(folder / "bin" / "busy" for folder in folders[3:4]),  # of an environment, or of `make install`
        *(folder / "busy" for folder in folders[1:2]),  # of a build
    ]
    for path in [*target, *_installed_by_pip(), *beside]:
        if os.access(path, os.X_OK) and path.is_file():
            return str(path.resolve())
    raise NotInstalled(
        "the command busy was not found: install the wheel of busy-gil, or busy by `make install`"
    )


def _installed_by_pip() -> list[Path]:
    from importlib import metadata

    try:
        files = metadata.files("busy-gil") or []
    except metadata.PackageNotFoundError:
        return []
    return [Path(str(file.locate())) for file in files if file.name == "busy" and file.parent.name == "bin"]


def _existing(path: Path, part: str) -> Path:
    if not path.exists():
        raise NotInstalled(
            f"{part} not found at {path}: the wheel of busy-gil has them; after `make install`, pkg-config names them"
        )
    return path


def config() -> None:
    """`busy-config`."""
    parser = argparse.ArgumentParser(
        prog="busy-config",
        description="Print the flags with which a C program uses the libbusy of this package.",
    )
    parser.add_argument("--cflags", action="store_true", help="flags of the compiler")
    parser.add_argument("--libs", action="store_true", help="flags of the linker")
    parser.add_argument(
        "--pkgconfigdir", action="store_true", help="the folder of busy.pc, for PKG_CONFIG_PATH"
    )
    asked = parser.parse_args()
    if not (asked.cflags or asked.libs or asked.pkgconfigdir):
        parser.error("expected --cflags, --libs or --pkgconfigdir")
    try:
        library = get_library()
        flags = [f"-I{get_include()}"] if asked.cflags else []
        flags += [f"-L{library}", "-lbusy", f"-Wl,-rpath,{library}"] if asked.libs else []
        flags += [f"{library}/pkgconfig"] if asked.pkgconfigdir else []
    except NotInstalled as reason:
        sys.exit(f"busy-config: {reason}")
    print(*flags)
