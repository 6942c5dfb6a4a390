"""Writes the licences of the crates that the binaries contain, which ask for it: third_party.py FILE.

Of a crate with a choice of licences, only the MIT licence is written. Each text is written once, below the crates that
have it.
"""

import collections
import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
# What is in the wheel and in `make install`. Not what builds and tests it.
BINARIES = ("busy-lab", "busy-ffi", "busy-record", "busy-pyext")
PLATFORM = "x86_64-unknown-linux-gnu"
HEAD = """\
The binaries of busy contain Rust's standard library (MIT OR Apache-2.0, https://www.rust-lang.org), and the crates
below.
"""


def cargo(*arguments: str) -> str:
    return subprocess.run(
        ["cargo", *arguments, "--locked"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout


def linked() -> set[tuple[str, str]]:
    """Returns the crates in the binaries, by name and version."""
    packages = [word for name in BINARIES for word in ("--package", name)]
    shape = ["--target", PLATFORM, "--edges", "normal,no-proc-macro", "--prefix", "none", "--format", "{p}"]
    tree = cargo("tree", *packages, *shape)
    # Such as `serde v1.0.0`, `clap v4.0.0 (*)`, `busy-core v0.1.0 (/folder)`.
    lines = [line.split() for line in tree.splitlines() if line]
    return {(name, version[1:]) for name, version, *rest in lines if not rest or rest == ["(*)"]}


def texts(folder: Path) -> list[str]:
    names = ("LICEN", "COPYING", "NOTICE", "UNLICENSE")
    files = sorted(
        file for file in folder.iterdir() if file.is_file() and file.name.upper().startswith(names)
    )
    mit = [file for file in files if "MIT" in file.name.upper()]
    return [file.read_text(encoding="utf-8", errors="replace").strip() for file in mit or files]


def main(to: str) -> None:
    found = collections.defaultdict(list)
    crates = linked()
    for package in json.loads(cargo("metadata", "--format-version", "1", "--filter-platform", PLATFORM))[
        "packages"
    ]:
        if (package["name"], package["version"]) in crates:
            title = f"{package['name']} {package['version']} ({package['license'] or 'see the text'})"
            title += f", {package['repository']}" if package["repository"] else ""
            for text in texts(Path(package["manifest_path"]).parent) or [
                "(The crate has no file with its licence.)"
            ]:
                found[text].append(title)
    sections = sorted((sorted(titles), text) for text, titles in found.items())
    with open(to, "w", encoding="utf-8") as file:
        file.write(HEAD)
        for titles, text in sections:
            file.write("\n" + "-" * 80 + "\n" + "\n".join(titles) + "\n\n" + text + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
