# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# What every test starts with; tests/README.md has a template. Exit status: 0 passed, 77 skipped, else failed.
set -u -o pipefail

export PATH=$VBLK_TOP/build/tools:$VBLK_TOP/build/tests:/usr/sbin:/usr/bin:/sbin:/bin
export LC_ALL=C
VBLK_BUILD=$VBLK_TOP/build
TEST=$(basename "$(dirname "$0")")/$(basename "$0")
NAME=vt$$
TMP=$(mktemp -d "${TMPDIR:-/tmp}/vblk-test.XXXXXX")
export VBLK_BUILD TEST NAME TMP

cleanups=()

# cleanup COMMAND ARG...: run it at the end whatever happens, the last registered one first.
cleanup()
{
	cleanups+=("$(printf '%q ' "$@")")
}

run_cleanups()
{
	local status=$? n

	trap '' TERM INT
	for ((n = ${#cleanups[@]} - 1; n >= 0; n--)); do
		echo "cleanup: ${cleanups[n]}"
		eval "${cleanups[n]}" || echo "cleanup: exit status $?"
	done
	rm -rf "$TMP"
	exit "$status"
}
trap run_cleanups EXIT
trap 'exit 143' TERM INT

# fail WORD...: the test has failed, and this is why.
fail()
{
	echo "$*" >>"$VBLK_REASON"
	echo "$TEST: $*" >&2
	exit 1
}

# skip WHAT-IS-MISSING
skip()
{
	echo "$* is missing" >>"$VBLK_REASON"
	exit 77
}

# in_full ALL SOME: the first in a run of the whole suite, else the second: of a matrix so much that each thing is there once.
in_full()
{
	if [ -n "${VBLK_FULL:-}" ]; then
		echo "$1"
	else
		echo "$2"
	fi
}

# requires PROGRAM...
requires()
{
	local program

	for program; do
		command -v "$program" >/dev/null || skip "$program"
	done
}

# where_built COMMAND ARG...: run it where the modules were built. What another suite's compiler wrote, that suite's tools read.
where_built()
{
	local enter=$VBLK_BUILD/kernels/$KVER/enter

	[ -x "$enter" ] || enter=
	$enter "$@"
}

# requires_module NAME...: load modules, ours by insmod with what they depend on. Ours stay until the boot ends.
requires_module()
{
	local name file

	for name; do
		file=$(find "$VBLK_BUILD/$KVER" -name "${name//[-_]/[-_]}.ko")
		if [ -d "/sys/module/${name//-/_}" ]; then
			continue
		elif [ -n "$file" ]; then
			insert_module "$file"
		elif [[ ${name//-/_} == @(dm_qcow2|vhost_blk) ]]; then
			fail "module $name was not built for $KVER"
		else
			modprobe "$name" || skip "module $name"
		fi
	done
}

insert_module()
{
	local dependency

	for dependency in $(modinfo -F depends "$1" | tr , ' '); do
		modprobe "$dependency" || fail "module $dependency does not load"
	done
	run insmod "$1"
}

# run COMMAND ARG...: log it and run it; the test fails when it does.
run()
{
	echo "+ $*" >&2
	"$@" || fail "exit status $?: $*"
}

# expect_rc STATUS COMMAND ARG...: the test fails unless the command exits with STATUS.
expect_rc()
{
	local want=$1 got=0
	shift

	echo "+ $*  (want exit status $want)" >&2
	"$@" || got=$?
	[ "$got" = "$want" ] || fail "exit status $got, not $want: $*"
}

# wait_until SECONDS COMMAND ARG...: run it until it succeeds; the test fails when it does not in time.
wait_until()
{
	local deadline=$((SECONDS + $1 * ${VBLK_TIMEOUT_SCALE:-1}))
	shift

	until "$@"; do
		[ $SECONDS -lt $deadline ] || fail "not in time: $*"
		sleep 0.1
	done
}

# expect_kmsg REGEX: the kernel must say this before the test ends, and it is then no complaint.
expect_kmsg()
{
	echo "$1" >>"$VBLK_KMSG_EXPECT"
}

# allow_kmsg REGEX: the kernel may say this.
allow_kmsg()
{
	echo "$1" >>"$VBLK_KMSG_ALLOW"
}

. "$VBLK_TOP/tests/lib/scratch.sh"
. "$VBLK_TOP/tests/lib/guest.sh"
