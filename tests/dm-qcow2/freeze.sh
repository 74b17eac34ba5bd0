# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# Frozen disks, and the devices that show them. Sourced after tests/dm-qcow2/lib.sh.

# freeze [MIB]: the latest device; sets VIEW to a device that shows it as it is now.
freeze()
{
	VIEW=$DEV-frozen
	run dmsetup message "$DEV" 0 freeze ${1:+"$1"}
	run dmsetup create "${VIEW##*/}" --readonly --table "0 $(blockdev --getsz "$DEV") qcow2-view $DEV"
	cleanup remove_left "${VIEW##*/}"
}

# thaw: the view goes, and with it what was kept.
thaw()
{
	run dmsetup remove --retry "${VIEW##*/}"
	run dmsetup message "$DEV" 0 thaw
}

# view_is FILE: what the view shows.
view_is()
{
	run blockdev --flushbufs "$VIEW"
	run cmp "$1" "$VIEW"
}

# view_state: frozen, or why it is not.
view_state()
{
	dmsetup status "${VIEW##*/}" | cut -d ' ' -f 6
}

# view_fails: no byte of it can be read.
view_fails()
{
	run blockdev --flushbufs "$VIEW"
	! dd if="$VIEW" of=/dev/null bs=4096 count=1 iflag=direct status=none || fail 'the view is read'
}

# unmap_both OFFSET BYTES MIRROR: a discard, which reads as zero where it is of whole clusters.
unmap_both()
{
	run blkdiscard -o "$1" -l "$2" "$DEV"
	run fallocate -p -o "$1" -l "$2" "$3"
}

# zero_both OFFSET BYTES MIRROR
zero_both()
{
	run blkdiscard -z -o "$1" -l "$2" "$DEV"
	run fallocate -p -o "$1" -l "$2" "$3"
}
