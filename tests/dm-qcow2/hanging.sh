# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# An image on a device of which a part hangs: the L2 tables of some places. Who wants to know where these are waits in a
# thread of the slow pool. Sourced after tests/dm-qcow2/lib.sh.
#
# Each table is of 2 MiB. Where a table begins, there are 4 KiB of content. The first three are left alone, as blkid looks
# there (for a LUKS2 header at 4 MiB, too); and what hangs is far from where more of the host is read than asked for.
HANG_FIRST=3
HANG_LAST=29
HANG_TABLES=48

# hanging_image: make it, as IMAGE, and its mirror.
hanging_image()
{
	local k

	make_noise 4
	scratch_dev 200
	hang_sectors=$(blockdev --getsz "$SCRATCH_DEV")
	IMAGE=/dev/mapper/$NAME-host
	run dmsetup create "$NAME-host" --table "0 $hang_sectors linear $SCRATCH_DEV 0"
	cleanup dmsetup remove --retry "$NAME-host"
	new_image "$IMAGE" 128M cluster_size=4k
	{
		echo 'write -q -P 255 100M 8M'
		for ((k = 0; k < HANG_TABLES; k++)); do
			echo "write -q -P $((k + 1)) $((2 * k))M 4k"
		done
	} | qemu-io -f qcow2 "$IMAGE" >&2 || fail "qemu-io cannot write"
	run qemu-img convert -f qcow2 -O raw "$IMAGE" "$TMP/mirror"
}

# host_becomes <TABLE: dm-delay passes on what it has when it is suspended.
host_becomes()
{
	run dmsetup load "$NAME-host"
	run dmsetup suspend --nolockfs "$NAME-host"
	run dmsetup resume "$NAME-host"
}

host_is_well()
{
	host_becomes <<<"0 $hang_sectors linear $SCRATCH_DEV 0"
}

# table_place K: its sector. The upper half of the entry has the COPIED bit, and nothing else on so small a device.
table_place()
{
	echo $(($(be32 "$IMAGE" $(($(be64 "$IMAGE" 40) + 8 * $1 + 4))) / 512))
}

# host_hangs: reads of the tables from HANG_FIRST to HANG_LAST do, until host_is_well; they lie one behind the other.
host_hangs()
{
	local from to

	from=$(table_place $HANG_FIRST)
	to=$(($(table_place $HANG_LAST) + 8))
	host_becomes <<-EOS
		0 $from linear $SCRATCH_DEV 0
		$from $((to - from)) delay $SCRATCH_DEV $from 600000 $SCRATCH_DEV $from 0 $SCRATCH_DEV $from 0
		$to $((hang_sectors - to)) linear $SCRATCH_DEV $to
	EOS
}

# start_read K, start_write K: at table K, in the background.
start_read()
{
	dd if="$DEV" of="$TMP/read.$1" bs=4k count=1 skip=$((512 * $1)) iflag=direct status=none &
	started+=($!)
}

start_write()
{
	put_noise "$DEV" $((($1 << 21) + 8192)) 4096 direct &
	started+=($!)
	put_noise "$TMP/mirror" $((($1 << 21) + 8192)) 4096
}

# wait_for_started: all of them end well.
wait_for_started()
{
	local pid

	for pid in "${started[@]}"; do
		wait "$pid" || fail "I/O failed"
	done
	started=()
}

# has_read K: it has read what is there.
has_read()
{
	[ "$(od -An -v -tu1 -w1 "$TMP/read.$1" | sort -u | tr -d ' \n')" = $(($1 + 1)) ] || fail "read something else at $1"
}

# reads_at_once K: it does not hang.
reads_at_once()
{
	timeout $((30 * ${VBLK_TIMEOUT_SCALE:-1})) dd if="$DEV" of="$TMP/read.$1" bs=4k count=1 skip=$((512 * $1)) \
		iflag=direct status=none || fail "a read waits for what hangs"
	has_read "$1"
}

# are_under_way READS WRITES
are_under_way()
{
	local reads writes

	read -r reads writes <"/sys/block/$(basename "$(realpath "$DEV")")/inflight"
	[ "$reads $writes" = "$1 $2" ]
}

# has_threads NUMBER: the slow pool of DEV.
has_threads()
{
	local number

	number=$(cat /proc/[0-9]*/comm 2>/dev/null |
		grep -c -x "qcow2_slow/$(dmsetup info -c --noheadings --separator : -o major,minor "$DEV")")
	echo "threads: $number" >&2
	[ "$number" = "$1" ]
}
