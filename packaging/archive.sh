#!/bin/sh
# Makes a static library that links beside other Rust libraries: archive.sh CARGO'S-LIBBUSY.A LIBBUSY.A
#
# The archive that cargo writes has hundreds of global symbols of Rust's standard library. A program that links two such
# archives gets "multiple definition". So this script links all that the functions of the C ABI need into one object file,
# and makes every other symbol local to it. The symbols with which code and its unwind tables refer to Rust's personality
# routine are weak and belong to a section group, which the linker takes from one of the files: they get names of their own.
# The standard library also carries its code in LLVM's form, for link-time optimisation; joined, it is not valid.

set -eu
export LC_ALL=C
symbols=$(dirname "$0")/../ffi/abi/symbols.txt
folder=$(mktemp -d)
trap 'rm -rf -- "$folder"' EXIT

sed 's/^/-u /' "$symbols" >"$folder/needed"
"${LD:-ld}" -r --gc-sections "@$folder/needed" -o "$folder/all.o" "$1"
# ld makes a weak reference of a function that it has dropped a local one, and objcopy would make that a global one.
readelf --wide --symbols "$folder/all.o" | awk '$5 == "LOCAL" && $7 == "UND" && $8 { print $8 }' >"$folder/unreferenced"
"${OBJCOPY:-objcopy}" --strip-unneeded-symbols="$folder/unreferenced" --keep-global-symbols="$symbols" \
    --strip-debug --remove-section=.llvmbc --remove-section=.llvmcmd \
    --redefine-sym rust_eh_personality=busy_rust_eh_personality \
    --redefine-sym DW.ref.rust_eh_personality=DW.ref.busy_rust_eh_personality "$folder/all.o" "$folder/busy.o"
rm -f -- "$2"
# D: no times, owners or modes of the builder.
"${AR:-ar}" rcsD "$2" "$folder/busy.o"
