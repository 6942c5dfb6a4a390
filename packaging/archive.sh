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
"${OBJCOPY:-objcopy}" --keep-global-symbols="$symbols" --strip-debug --remove-section=.llvmbc --remove-section=.llvmcmd \
    --redefine-sym rust_eh_personality=busy_rust_eh_personality \
    --redefine-sym DW.ref.rust_eh_personality=DW.ref.busy_rust_eh_personality "$folder/all.o" "$folder/busy.o"
rm -f -- "$2"
# D: no times, owners or modes of the builder.
"${AR:-ar}" rcsD "$2" "$folder/busy.o"
