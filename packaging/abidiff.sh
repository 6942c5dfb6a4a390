#!/bin/sh
# Compares the ABI of libbusy with the committed one by libabigail, or writes the committed one: abidiff.sh compare|write.
# `make check` and `make generate` call it after a build. It sees what the headers don't show, such as how a function really takes its
# parameters. Skipped where abidiff(1) is not installed.

set -eu
cd "$(dirname "$0")/.."
committed=ffi/abi/libbusy.abi

if ! command -v abidiff >/dev/null; then
    echo "abidiff is not installed (package abigail-tools): skipped the comparison of libbusy with $committed." >&2
    exit 0
fi
library=target/release/libbusy.so
case ${1:-} in
write)
    abidw --no-corpus-path --no-comp-dir-path --no-show-locs --drop-undefined-syms --no-elf-needed --type-id-style hash \
        --headers-dir ffi/include --suppressions ffi/abi/abidiff.suppr --out-file "$committed" "$library"
    # Cargo names a folder after the registry.
    sed -i 's|/cargo/registry/src/[^/]*/|/cargo/|g' "$committed"
    ;;
compare)
    # The exit code is a set of bits: 4 is a change, 8 a change that breaks programs, 1 and 2 are errors (abidiff(1)).
    if ! abidiff --no-added-syms --suppressions ffi/abi/abidiff.suppr "$committed" "$library"; then
        echo "busy: the ABI of libbusy differs from $committed, as told above. If programs that use it keep working" \
            "(docs/abi-policy.md), run \`make generate\`. Otherwise keep what was there, and add a function or a field at" \
            "the end of a struct that begins with its size; or raise BUSY_ABI_MAJOR in ffi/src/abi.rs." >&2
        exit 1
    fi
    ;;
*)
    echo "busy: expected compare or write, found '${1:-}'" >&2
    exit 2
    ;;
esac
