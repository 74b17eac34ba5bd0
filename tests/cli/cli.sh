# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# For the tests of the tools: run a verb and look at everything that it says and leaves.

# refused STATUS OBJECT WORDS COMMAND ARG...: the command exits with STATUS, says so in one line
# "vblk-VERB: OBJECT: ...", which has the WORDS in it, adds at most a line "hint: ...", prints nothing on
# standard output, and leaves nothing.
refused()
{
	local status=$1 object=$2 words=$3 before after got=0 said
	shift 3

	before=$(traces)
	echo "+ $*  (want exit status $status and: $words)" >&2
	"$@" >"$TMP/out" 2>"$TMP/err" || got=$?
	[ $got = "$status" ] || fail "exit status $got, not $status: $*"
	[ ! -s "$TMP/out" ] || fail "a refusal with something on standard output: $*"
	mapfile -t said <"$TMP/err"
	printf '%s\n' "${said[@]}" >&2
	# shellcheck disable=SC2053,SC2027 # the object may be a glob
	[[ ${said[0]:-} == vblk-*": "$object": "*"$words"* ]] || fail "no word about: $words"
	[ ${#said[@]} -le 2 ] || fail "more than one line and a hint: $*"
	[[ ${said[1]:-hint: } == 'hint: '* ]] || fail "more than one line: $*"
	after=$(traces)
	[ "$after" = "$before" ] || fail "left behind: $(diff <(echo "$before") <(echo "$after"))"
}

# traces: what an attach makes and a detach removes: devices, files, processes, locks. No program runs for it:
# each costs a second in a slow VM.
traces()
{
	local file line locks

	printf '%s\n' /dev/mapper/* /run/vblk/*
	for file in /proc/[0-9]*/comm; do
		read -r line 2>/dev/null <"$file" || continue
		[[ $line != vblk* ]] || echo "process $line"
	done
	# In one go: read begins anew for each line, and misses one, or has it twice, where udev takes or drops a lock meanwhile.
	mapfile -t locks </proc/locks
	for line in "${locks[@]}"; do
		[[ $line != *OFDLCK* ]] || echo "lock ${line#*: }"
	done
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

# stop_host NAME: what a reboot takes of a disk that no guest has: its devices, and all in /run.
stop_host()
{
	wait_until 60 sh -c '! pgrep -f "[q]emu-img commit"'
	run dmsetup remove --retry "$1"
	[ ! -e "/dev/mapper/$1-below" ] || run dmsetup remove --retry "$1-below"
	rm -rf /run/vblk/*
}

# poke FILE OFFSET HEX: overwrite bytes.
poke()
{
	printf '%b' "$(echo "$3" | sed 's/../\\x&/g')" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}

# on_host: for tests that run there: in $TMP, whose files have direct I/O, and where other users get to what they may
# read. Anybody may come and go on this host meanwhile, so traces are files there and children of the test.
on_host()
{
	[ "$(id -u)" = 0 ] || skip 'the right to be another user'
	run chmod 711 "$TMP"
	cd "$TMP" || exit 1
	cleanup cd /
	dd if=/dev/zero of="$TMP/direct" bs=4096 count=1 oflag=direct status=none 2>/dev/null || skip "direct I/O in $TMP"
	rm "$TMP/direct"
	# shellcheck disable=SC2317 # it is called by refused
	traces()
	{
		echo /run/vblk/*
		find "$TMP" -mindepth 1 ! -path "$TMP/out" ! -path "$TMP/err" | sort
		pgrep -P $$ vblk
	}
}

# overlay NAME BACKING [FORMAT [SIZE]]: an image that names BACKING, whatever that is; FORMAT - leaves out which it is.
overlay()
{
	local format=${3:-qcow2}

	run qemu-img create -q -f qcow2 -u -b "$2" -F "${format/#-/raw}" "$1" "${4:-1M}"
	# An extension of a type that nobody knows.
	[ "$format" != - ] || poke "$1" 112 00000001
}

# plan ARG...: what an attach would do, as JSON in $TMP/plan.
plan()
{
	run vblk-attach --dry-run --json "$@" >"$TMP/plan"
}

# planned: the images of $TMP/plan, the top first.
planned()
{
	jq -r '.chain[].image' "$TMP/plan"
}
