# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# Scratch space on the VM's disks, which are carved into linear device-mapper devices. A test may take as many
# as it needs: each call continues after the one before, and all are free again when the test has ended.

scratch_disk=0
scratch_next=0
scratch_count=0

# scratch_dev MIB: sets SCRATCH_DEV to a block device of that size that reads as zero.
scratch_dev()
{
	local sectors=$(($1 * 2048)) disk name

	requires dmsetup blkdiscard
	disk=$(scratch_find "$sectors") || fail "no $1 MiB of scratch space left"
	if [ "$disk" != "$scratch_disk" ]; then
		scratch_disk=$disk
		scratch_next=0
	fi
	name=$NAME-scratch$scratch_count
	run dmsetup create "$name" --table "0 $sectors linear /dev/disk/by-id/virtio-scratch$disk $scratch_next"
	cleanup dmsetup remove --retry "$name"
	scratch_next=$((scratch_next + sectors))
	scratch_count=$((scratch_count + 1))
	SCRATCH_DEV=/dev/mapper/$name
	# Discarded parts of the disk's sparse file read as zero.
	run blkdiscard -f "$SCRATCH_DEV"
}

# scratch_find SECTORS: number of the disk that has so much left.
scratch_find()
{
	local disk device

	for ((disk = scratch_disk; ; disk++)); do
		device=/dev/disk/by-id/virtio-scratch$disk
		[ -b $device ] || return 1
		if [ $((disk == scratch_disk ? scratch_next + $1 : $1)) -le "$(blockdev --getsz $device)" ]; then
			echo $disk
			return
		fi
	done
}

# scratch_fs TYPE MIB [MKFS-OPTION...]: sets SCRATCH_MNT to where a fresh file system is mounted.
scratch_fs()
{
	local type=$1 size=$2
	shift 2

	requires "mkfs.$type"
	scratch_dev "$size"
	run "mkfs.$type" -q "$@" "$SCRATCH_DEV"
	SCRATCH_MNT=$TMP/mnt$scratch_count
	mkdir "$SCRATCH_MNT"
	run mount -t "$type" "$SCRATCH_DEV" "$SCRATCH_MNT"
	cleanup umount "$SCRATCH_MNT"
}
