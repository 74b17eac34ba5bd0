# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# For the tests of the tools: run a verb and look at everything that it says and leaves.

# refused STATUS OBJECT WORDS COMMAND ARG...: the command exits with STATUS, says so in one line
# "vblk-VERB: OBJECT: ...", which has the WORDS in it, adds at most a line "hint: ...", prints nothing on
# standard output, and leaves nothing.
refused()
{
	local status=$1 object=$2 words=$3 before got=0
	shift 3

	before=$(traces)
	echo "+ $*  (want exit status $status and: $words)" >&2
	"$@" >"$TMP/out" 2>"$TMP/err" || got=$?
	cat "$TMP/err" >&2
	[ $got = "$status" ] || fail "exit status $got, not $status: $*"
	[ ! -s "$TMP/out" ] || fail "a refusal with something on standard output: $*"
	[[ $(sed -n 1p "$TMP/err") == vblk-*": "$object": "*"$words"* ]] || fail "no word about: $words"
	[ "$(sed 1d "$TMP/err" | grep -v -c '^hint: ')" = 0 ] || fail "more than one line: $*"
	[ "$(wc -l <"$TMP/err")" -le 2 ] || fail "more than one hint: $*"
	[ "$(traces)" = "$before" ] || fail "left behind: $(diff <(echo "$before") <(traces))"
}

# traces: what an attach makes and a detach removes: devices, files, processes, locks.
traces()
{
	dmsetup ls 2>/dev/null | sort
	[ ! -d /run/vblk ] || find /run/vblk -mindepth 1 | sort
	pgrep -l '^vblk' | sort
	grep OFDLCK /proc/locks | sed 's/^[0-9]*: //' | sort
}

# new_image SIZE [QEMU-IMG-OPTION...]: sets IMAGE to a fresh image on a scratch file system.
new_image()
{
	local size=$1
	shift

	[ -n "${SCRATCH_MNT:-}" ] || scratch_fs ext4 512
	IMAGE=$SCRATCH_MNT/$NAME-$RANDOM.qcow2
	run qemu-img create -q -f qcow2 "$@" "$IMAGE" "$size"
}

# attach ARG...: attach, and detach at the end of the test.
attach()
{
	run vblk-attach "$@"
	cleanup detach_all
}

detach_all()
{
	local name

	for name in $(vblk-list -o NAME | sed 1d); do
		vblk-detach --force "$name"
	done
}

# poke FILE OFFSET HEX: overwrite bytes.
poke()
{
	printf '%b' "$(echo "$3" | sed 's/../\\x&/g')" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}
