# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# What a backup costs, and a copy by qemu-img. Sourced after tests/bench/rows.sh.

# write_parts MIB: so much of each 16 MiB of the disk that is attached
write_parts()
{
	local i

	for ((i = 0; i < BENCH_MIB; i += 16)); do
		run dd if=/dev/urandom of="$DEV" bs=1M seek=$i count="$1" oflag=direct status=none
	done
}

median_of_three()
{
	sort -n | sed -n 2p
}

# per_block LESS: lines with the time of a quarter of the disk, where the half of that takes LESS, to what 4 KiB more take. So
# the start of programs, and the first use of their memory, do not count.
per_block()
{
	awk -v less="$1" -v blocks=$((BENCH_MIB * 32)) '{ printf "%.1f\n", ($1 - less) / blocks }'
}

# copy_rounds ROW N: copy the image so often, to the end: by vblk-backup while it is attached, or by qemu-img convert.
copy_rounds()
{
	local row=$1 rounds=$2 format=qcow2 before copy

	[[ $row != *-raw ]] || format=raw
	copy=(qemu-img convert -f qcow2 -O "$format" "$IMAGE" "$IMAGE_MNT/copy")
	if [[ $row == backup-* ]]; then
		run vblk-attach --no-vhost "$IMAGE" "$DM_NAME" >&2
		copy=(vblk-backup --format "$format" "$DM_NAME" "$IMAGE_MNT/copy")
	fi
	for ((; rounds > 0; rounds--)); do
		before=$(busy-ns)
		run "${copy[@]}" >&2
		run sync -f "$IMAGE_MNT"
		echo $(($(busy-ns) - before))
		run rm "$IMAGE_MNT/copy"
	done
	[[ $row != backup-* ]] || run vblk-detach "$DM_NAME"
}

# copy_source_make ROW MIB: an image that has so much of each 16 MiB.
copy_source_make()
{
	row_make "${1/*-xfs*/qcow2-xfs}" fresh
	write_parts "$2"
	detach_left
}

# measure_copy ROW
measure_copy()
{
	local row=$1 less

	copy_source_make "$row" 2
	less=$(copy_rounds "$row" 4 | sed 1d | median_of_three)
	row_remove
	copy_source_make "$row" 4
	copy_rounds "$row" 4 | sed 1d | per_block "$less" >"$TMP/rounds"
	note "$row" copy
	row_remove
}
