# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# Where the images of rows that stand side by side lie: those in files share a file system, each of the others has a
# RAM disk. Sourced after tests/bench/rows.sh.

BENCH_MIB=64
SIZE_MIB=$BENCH_MIB
RAM_MIB=2048
MAX_RAM_DISKS=32
declare -A mount_of

# disks_begin: none yet.
disks_begin()
{
	ram_disks $MAX_RAM_DISKS
	next_ram=0
	mount_of=()
	cleanup disks_drop
}

# disks_end: their users have gone.
disks_end()
{
	local place

	for place in "${!mount_of[@]}"; do
		run umount "${mount_of[$place]}"
	done
	mount_of=()
}

# disks_drop: whatever has gone wrong, nothing is mounted.
disks_drop()
{
	[ ${#mount_of[@]} = 0 ] || umount "${mount_of[@]}"
}

# ram_disk: sets LOWER to one that is free.
ram_disk()
{
	LOWER=/dev/ram$next_ram
	next_ram=$((next_ram + 1))
}

# choose_image ROW NAME: sets IMAGE to where an image for such a row goes.
choose_image()
{
	local place

	place=$(place_of "$1")
	if [ "$place" = bdev ]; then
		ram_disk
		IMAGE=$LOWER
		return
	fi
	if [ -z "${mount_of[$place]:-}" ]; then
		ram_disk
		IMAGE_MNT=$TMP/$place
		mkdir -p "$IMAGE_MNT"
		place_make "$place"
		mount_of[$place]=$IMAGE_MNT
	fi
	IMAGE=${mount_of[$place]}/$2
}

# filled_image ROW NAME: one in which every block has been written, in order, attached as rows.sh does it.
filled_image()
{
	DM_NAME=bench-$2
	choose_image "$1" "$2"
	image_make "$(kind_of "$1")"
	attach "$(kind_of "$1")"
	fill "$(kind_of "$1")"
}

# full_image ROW NAME: for QEMU or vblk-attach, one in which every block is mapped: a copy, as many of them are wanted.
full_image()
{
	local template=$TMP/full.qcow2

	if [[ $1 == *-chain* ]]; then
		chain_image "$@"
		return
	fi
	choose_image "$1" "$2"
	if [ "$1" = ram ]; then
		template=/dev/zero
	elif [ ! -e "$template" ]; then
		run qemu-img create -q -f qcow2 -o preallocation=full "$template" ${BENCH_MIB}M
	fi
	run dd if="$template" of="$IMAGE" bs=1M count=$((BENCH_MIB + 1)) oflag=direct conv=notrunc,fsync status=none
}

# chain_image ROW NAME: an overlay on a chain in which the lowest image has all data, and which others share.
chain_image()
{
	local depth i mnt

	depth=$(depth_of "$1")
	choose_image "$1" chain1
	mnt=${IMAGE%/*}
	if [ ! -e "$IMAGE" ]; then
		full_image "${1%-chain*}" chain1
		for ((i = 2; i <= depth; i++)); do
			overlay_make "$mnt/chain$((i - 1))" "$mnt/chain$i"
		done
	fi
	IMAGE=$mnt/$2
	overlay_make "$mnt/chain$depth" "$IMAGE"
	run sync -f "$IMAGE"
}
