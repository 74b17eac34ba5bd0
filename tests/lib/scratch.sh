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

# scratch_4k MIB: sets SCRATCH_DEV to a disk in memory whose sectors have 4096 bytes. A request of less fails there, and
# not in a loop device. There is one of them.
scratch_4k()
{
	if [ -e /sys/kernel/debug/kmemleak ]; then
		scratch_4k_loop "$1"
		return
	fi
	[ ! -d /sys/module/scsi_debug ] || skip "a scsi_debug of our own"
	# A request takes a while, so that others come meanwhile.
	modprobe scsi_debug sector_size=4096 dev_size_mb="$1" delay=0 ndelay=100000 || skip "module scsi_debug"
	cleanup modprobe -r scsi_debug
	run udevadm settle
	scratch_count=$((scratch_count + 1))
	SCRATCH_DEV=/dev/$(basename /sys/bus/pseudo/drivers/scsi_debug/adapter*/host*/target*/*:*/block/*)
	[ "$(blockdev --getss "$SCRATCH_DEV")" = 4096 ] || fail "$SCRATCH_DEV: no disk of 4096-byte sectors"
}

# Where leaks are looked for: the probe of a SCSI disk has one (device_set_deferred_probe_reason(), Linux 6.12.117).
scratch_4k_loop()
{
	requires losetup
	requires_module loop
	scratch_dev "$1"
	SCRATCH_DEV=$(losetup -f --show --sector-size 4096 "$SCRATCH_DEV") || fail "no loop device"
	cleanup losetup -d "$SCRATCH_DEV"
}

# scratch_fs TYPE MIB [MKFS-OPTION...]: sets SCRATCH_MNT to where a fresh file system is mounted.
scratch_fs()
{
	local type=$1 size=$2
	shift 2

	scratch_dev "$size"
	scratch_mount "$type" "$@"
}

# scratch_mount TYPE [MKFS-OPTION...]: the same, on $SCRATCH_DEV.
scratch_mount()
{
	local type=$1
	shift

	requires "mkfs.$type"
	run "mkfs.$type" -q "$@" "$SCRATCH_DEV"
	SCRATCH_MNT=$TMP/mnt$scratch_count
	mkdir -p "$SCRATCH_MNT"
	run mount -t "$type" "$SCRATCH_DEV" "$SCRATCH_MNT"
	cleanup umount "$SCRATCH_MNT"
}
