#!/bin/bash
# SPDX-License-Identifier: MIT
#
# tests/install.sh BUILD header|exports|shared|static: installs BUILD to a temporary
# directory and looks at what a user of the library gets.  The example is the
# program that is built against it.

# shellcheck disable=SC2046,SC2086  # what pkg-config prints is meant to be split
set -eu
build=$1
check=$2
top=$(cd "$(dirname "$0")/.." && pwd)
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT

DESTDIR=$root meson install -C "$build" --no-rebuild --skip-subprojects --quiet
pc_file=$(find "$root" -name llfuse.pc)
export PKG_CONFIG_PATH=${pc_file%/*}:${PKG_CONFIG_PATH-} PKG_CONFIG_SYSROOT_DIR=$root
library=$(find "$root" -name libllfuse.so)

build_example() {
	gcc -D_FILE_OFFSET_BITS=64 -o "$root/hello" "$top/examples/hello.c" "$@"
}

case $check in
header)
	# The header needs nothing before it, in plain C.
	echo '#include <llfuse.h>' | gcc -std=c17 -Wall -Wextra -Werror -fsyntax-only -x c - $(pkg-config --cflags llfuse)
	;;
exports)
	# The shared library offers what the header declares: no more, no less.
	nm -D --defined-only "$library" | awk '$2 != "A" { sub(/@.*/, "", $3); print $3 }' | sort >"$root/exported"
	gcc -E -P "$top/include/llfuse.h" | grep -v '^static' | grep -o '\bllfuse_[a-z_]*(' | tr -d '(' |
		sort -u >"$root/all"
	# Types of handlers and inline functions are not symbols.
	grep -v '^llfuse_userdata$' "$root/all" >"$root/declared"
	diff -u "$root/declared" "$root/exported"
	;;
shared)
	build_example $(pkg-config --cflags --libs llfuse)
	LD_LIBRARY_PATH=${library%/*} "$root/hello" --version
	! ldd "$root/hello" | grep libfuse
	;;
static)
	libs=$(pkg-config --static --libs llfuse)
	build_example $(pkg-config --cflags llfuse) ${libs/-lllfuse/-l:libllfuse.a}
	"$root/hello" --version
	! ldd "$root/hello" | grep llfuse
	;;
*)
	echo "usage: tests/install.sh BUILD header|exports|shared|static" >&2
	exit 2
	;;
esac
