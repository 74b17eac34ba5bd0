# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# A host file system that fails reads when it is told to: see tests/tools/fuse-host.c. Sourced after tests/dm-qcow2/lib.sh.

# fuse_host FILE: sets IMAGE to a file that holds what FILE does, in a file system of its own.
fuse_host()
{
	FUSE_MNT=$TMP/fuse
	IMAGE=$FUSE_MNT/image
	mkdir "$FUSE_MNT"
	run fuse-host "$FUSE_MNT" "$1"
	# Whoever is waiting for it gets an error.
	cleanup umount -f "$FUSE_MNT"
}

# reads_fail OFFSET BYTES ERRNO: those of the image that touch this range, until reads_pass.
reads_fail()
{
	echo "read $*" >"$FUSE_MNT/faults" || fail "no reads fail: $*"
}

reads_pass()
{
	echo ok >"$FUSE_MNT/faults" || fail 'reads go on to fail'
}

# failed_reads: how many have failed since reads_fail.
failed_reads()
{
	cat "$FUSE_MNT/faults"
}
