#!/bin/sh
# Puts the parts of the wheel that maturin does not build where it looks for them: stage.sh RELEASE, the folder with the
# command, libbusy.so and libbusy_record.so. pyproject.toml names the places; git ignores them.

set -eu
release=$(cd "$1" && pwd)
cd "$(dirname "$0")/.."
major=$(sed -n 's/.*BUSY_ABI_MAJOR: u32 = \([0-9]*\);/\1/p' ffi/src/abi.rs)
version=$(sed -n '/workspace.package/,/^$/s/^version = "\(.*\)"/\1/p' Cargo.toml)
library=pyext/python/busy/_lib
headers=pyext/python/busy/include

rm -rf pyext/wheel-data "$library" "$headers"
install -D -m 755 "$release/busy" pyext/wheel-data/scripts/busy
install -D -m 755 "$release/libbusy.so" "$library/libbusy.so.$major"
install -m 755 "$release/libbusy_record.so" "$library/libbusy_record.so"
# Without symbols and line tables, which would make up most of the wheel.
strip --strip-unneeded pyext/wheel-data/scripts/busy "$library/libbusy.so.$major" "$library/libbusy_record.so"
# A wheel has no symbolic links. The linker follows this script instead (ld(1), INPUT).
echo "INPUT(libbusy.so.$major)" >"$library/libbusy.so"
install -D -m 644 ffi/include/busy.h ffi/include/busy_gil.h -t "$headers"
"${PYTHON:-python3}" packaging/third_party.py "$library/THIRD-PARTY"
cp "$library/THIRD-PARTY" "$release/THIRD-PARTY"
install -d "$library/pkgconfig"
# shellcheck disable=SC2016 # for pkg-config to expand
sed -e 's|@PREFIX@|${pcfiledir}/../..|' -e 's|@LIBDIR@|${prefix}/_lib|' -e 's|@INCLUDEDIR@|${prefix}/include|' \
    -e "s|@VERSION@|$version|" ffi/busy.pc.in >"$library/pkgconfig/busy.pc"
