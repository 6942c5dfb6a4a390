#!/bin/sh
# Builds Debian's packages into FOLDER from packaging/debian, and checks them by lintian(1): deb.sh FOLDER.

set -eu
top=$(cd "$(dirname "$0")/.." && pwd)
for tool in dh lintian; do
    if ! command -v "$tool" >/dev/null; then
        echo "busy: $tool is needed: apt install debhelper lintian" >&2
        exit 1
    fi
done
rm -rf "$1"
mkdir -p "$1/busy"
cd "$1/busy"
cp -R "$top/packaging/debian" debian
# -d: the Rust of rustup is no package.
TOP="$top" dpkg-buildpackage --build=binary --no-sign -d >../log 2>&1 || {
    tail -n 40 ../log >&2
    exit 1
}
cd ..
# No bug in Debian's tracker asks for the package yet.
lintian --allow-root --fail-on error,warning --suppress-tags initial-upload-closes-no-bugs ./*.changes
ls -l ./*.deb
