#!/bin/sh
# Builds the wheels for PyPI and checks them: wheels.sh FOLDER. FOLDER/venv has the tools, FOLDER/dist gets the wheels.
#
# zig's linker links against the symbols of glibc 2.17 (December 2012), the oldest one that Rust supports. So the wheels
# serve every distribution with glibc that has a Python of 3.10 or later, or gets one.

set -eu
cd "$(dirname "$0")/.."
folder=$(mkdir -p "$1" && cd "$1" && pwd)
triple=x86_64-unknown-linux-gnu
export CARGO_TARGET_DIR="$folder/target" PATH="$folder/venv/bin:$PATH"

cargo zigbuild --quiet --profile wheel --target $triple.2.17 --package busy-lab --package busy-ffi --package busy-record
packaging/stage.sh "$CARGO_TARGET_DIR/$triple/wheel"
rm -rf "$folder/dist"
wheel() {
    maturin build --quiet --profile wheel --zig --target $triple --compatibility manylinux_2_17 --compression-level 9 \
        --out "$folder/dist" "$@"
}
# One for all CPythons with a GIL, and two for free-threaded ones: 3.14t has no stable ABI, 3.15 brings one (PEP 803).
wheel
wheel -i python3.14t
wheel -i python3.15 --features pyo3/abi3t-py315
# The sources, from which `pip install` builds a wheel for this machine's glibc (packaging/wheel_backend.py).
mkdir -p pyext/wheel-data
maturin sdist --out "$folder/dist"

twine check --strict "$folder"/dist/*
for wheel in "$folder"/dist/*.whl; do
    shown=$(auditwheel show "$wheel")
    case $shown in
    *'"manylinux_2_17_x86_64"'*) ;;
    *)
        echo "busy: $wheel does not serve glibc 2.17: $shown" >&2
        exit 1
        ;;
    esac
done

rm -rf "$folder/unpacked"
python3 -m zipfile -e "$folder"/dist/*-cp310-abi3-*.whl "$folder/unpacked"
# The module alone: the linker script libbusy.so is no library.
abi3audit --strict --assume-minimum-abi3 3.10 "$folder/unpacked/busy/_busy.abi3.so"
# auditwheel looks at versioned symbols of shared libraries only. A strong symbol without a version that an old glibc lacks
# would keep the file from being loaded there, and the command is no library.
for file in "$folder"/unpacked/*.data/scripts/busy "$folder"/unpacked/busy/_lib/libbusy.so.1 \
    "$folder"/unpacked/busy/_lib/libbusy_record.so "$folder"/unpacked/busy/_busy.abi3.so; do
    foreign=$(nm --dynamic --undefined-only --with-symbol-versions "$file" |
        awk '$1 == "U" && $2 !~ /@/ && $2 !~ /^_?Py/ { print $2 }')
    newer=$(nm --dynamic --undefined-only --with-symbol-versions "$file" |
        sed -n 's/.*@GLIBC_//p' | sort -V | awk -F. '$1 > 2 || $2 > 17')
    if [ -n "$foreign$newer" ]; then
        echo "busy: $file needs symbols that glibc 2.17 lacks: $foreign $newer" >&2
        exit 1
    fi
done
ls -l "$folder"/dist
