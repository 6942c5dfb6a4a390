#!/bin/sh
# Installs the built files, or removes exactly those: install.sh install|uninstall. `make install` and `make uninstall`
# pass the folders in the environment: DESTDIR goes before each path; PREFIX, BINDIR, LIBDIR, INCLUDEDIR, MANDIR,
# DATADIR and ZSHDIR are where the files are used.

set -eu
# The files are for everyone, whatever the caller's umask.
umask 022

die() {
    echo "busy: $*" >&2
    exit 1
}

# busy.pc and the paths in it can't express every name, and a folder must not depend on where make is called.
check_folders() {
    for name in PREFIX BINDIR LIBDIR INCLUDEDIR DATADIR MANDIR ZSHDIR; do
        folder=''
        eval "folder=\$$name"
        case $folder in
        *[!A-Za-z0-9/._+~@:,=-]*) die "$name may have letters, digits and /._+~@:,=- only; it is '$folder'" ;;
        */../* | */..) die "$name must not contain '..'; it is '$folder'" ;;
        "${PREFIX%/}"/lib/busy | "${PREFIX%/}"/lib/busy/*) die "$name must not be in $PREFIX/lib/busy, whose content make install replaces" ;;
        /*) ;;
        *) die "$name must be an absolute path; it is '$folder'" ;;
        esac
    done
    # The command looks for its library and its Python module from its own folder.
    case $BINDIR in
    "${PREFIX%/}"/?*/*) die "BINDIR must be a folder of PREFIX, such as $PREFIX/bin; it is '$BINDIR'" ;;
    "${PREFIX%/}"/?*) ;;
    *) die "BINDIR must be a folder of PREFIX, such as $PREFIX/bin; it is '$BINDIR'" ;;
    esac
    case $DESTDIR in
    *'
'*) die "DESTDIR must not contain a line feed" ;;
    esac
}

# Calls `$1 MODE SOURCE FILE` for each file.
each_file() {
    "$1" 755 "$RELEASE/busy" "$BINDIR/busy"
    "$1" 755 "$RELEASE/libbusy.so" "$LIBDIR/libbusy.so.$ABI_MAJOR"
    "$1" 644 "$ARCHIVE" "$LIBDIR/libbusy.a"
    "$1" 644 "$PKG_CONFIG" "$LIBDIR/pkgconfig/busy.pc"
    "$1" 644 ffi/include/busy.h "$INCLUDEDIR/busy.h"
    "$1" 644 ffi/include/busy_gil.h "$INCLUDEDIR/busy_gil.h"
    for page in "$MANUAL"/*.[13]; do
        "$1" 644 "$page" "$MANDIR/man${page##*.}/${page##*/}"
    done
    "$1" 644 "$MANUAL/busy.bash" "$DATADIR/bash-completion/completions/busy"
    "$1" 644 "$MANUAL/_busy" "$ZSHDIR/_busy"
    "$1" 644 "$MANUAL/busy.fish" "$DATADIR/fish/vendor_completions.d/busy.fish"
    "$1" 644 LICENSE-MIT "$DATADIR/doc/busy/LICENSE-MIT"
    "$1" 644 LICENSE-APACHE "$DATADIR/doc/busy/LICENSE-APACHE"
    "$1" 644 "$RELEASE/THIRD-PARTY" "$DATADIR/doc/busy/THIRD-PARTY"
}

put() {
    install -D -m "$1" -- "$2" "$DESTDIR$3"
}

take() {
    rm -f -- "$DESTDIR$3"
}

# The module for child interpreters, and links to libbusy for it and for the command, in a folder that is busy's alone.
install_module() {
    own=$DESTDIR$PREFIX/lib/busy
    rm -rf -- "$own"
    install -d -- "$own/python"
    cp -R -- "$RELEASE"/python/busy "$RELEASE"/python/*.dist-info "$own/python"
    find "$own" -name __pycache__ -prune -exec rm -rf -- {} +
    # Files that cargo and pip have created under another umask.
    find "$own" -type d -exec chmod 755 -- {} +
    find "$own" -type f -exec chmod 644 -- {} +
    install -m 755 -- "$RELEASE/libbusy_record.so" "$own/libbusy_record.so"
    library=$DESTDIR$LIBDIR/libbusy.so.$ABI_MAJOR
    ln -sfr -- "$library" "$own/libbusy.so.$ABI_MAJOR"
    ln -sfr -- "$library" "$own/python/busy/_lib/libbusy.so.$ABI_MAJOR"
}

# busy.pc, in which the folders follow a prefix that pkg-config is given (--define-prefix).
write_pkg_config() {
    below_prefix() {
        case $1 in
        "${PREFIX%/}"/*) echo "\${prefix}/${1#"${PREFIX%/}"/}" ;;
        *) echo "$1" ;;
        esac
    }
    sed -e "s|@PREFIX@|$PREFIX|" -e "s|@LIBDIR@|$(below_prefix "$LIBDIR")|" \
        -e "s|@INCLUDEDIR@|$(below_prefix "$INCLUDEDIR")|" -e "s|@VERSION@|$VERSION|" ffi/busy.pc.in
}

check_folders
case ${1:-} in
install)
    PKG_CONFIG=$(mktemp)
    trap 'rm -f -- "$PKG_CONFIG"' EXIT
    write_pkg_config >"$PKG_CONFIG"
    each_file put
    ln -sfn -- "libbusy.so.$ABI_MAJOR" "$DESTDIR$LIBDIR/libbusy.so"
    install_module
    if [ -z "$DESTDIR" ] && ! ldconfig 2>/dev/null; then
        echo "If $LIBDIR is one of the folders in ld.so.conf(5), run ldconfig as root."
    fi
    ;;
uninstall)
    PKG_CONFIG=
    each_file take
    rm -f -- "$DESTDIR$LIBDIR/libbusy.so"
    rm -rf -- "$DESTDIR$PREFIX/lib/busy" "$DESTDIR$DATADIR/doc/busy"
    ;;
*) die "expected install or uninstall, found '${1:-}'" ;;
esac
