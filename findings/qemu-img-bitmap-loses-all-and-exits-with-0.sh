#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# QEMU 7.2 (Debian 1:7.2+dfsg-7+deb12u18+b3): "qemu-img bitmap --add" to an image that cannot grow exits with 0 though it has added
# nothing, and the persistent bitmaps that were there before are lost.
#
# While an image is open for writing its bitmaps are marked in-use; they are stored, and the mark is taken away, as it is closed
# (bdrv_inactivate()). What fails there is a message, "Lost persistent bitmaps during inactivation", and no exit status; a bitmap
# that is in-use still is inconsistent, and no good to anybody. So one that is added with too little room ends the ones that incremental
# backups go by. With no room at all the add fails, exit status 1, and the image has no bitmaps any more: the
# header that says that there are some was not written again.
#
# Seen:
#
#	room for 65536 bytes: exit status 0, bitmaps: one in-use
#	room for 0 bytes: exit status 1, bitmaps: none
#
# Needs apt and dpkg-deb, the libraries of qemu-utils, and jq. Fails when that is not what it sees.
set -eu

version=1:7.2+dfsg-7+deb12u18+b3
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"

apt-get -q -q download "qemu-utils=$version"
dpkg-deb -x qemu-utils_*.deb root
PATH=$dir/root/usr/bin:$PATH

# with_room BYTES: add a second bitmap to an image that can grow by so much.
with_room()
{
	local status=0 bitmaps

	rm -f disk.qcow2
	qemu-img create -q -f qcow2 disk.qcow2 1G
	qemu-img bitmap --add disk.qcow2 one
	(
		ulimit -f $((($(stat -c %s disk.qcow2) + $1) / 1024))
		trap '' XFSZ
		qemu-img bitmap --add -g 512 disk.qcow2 two 2>/dev/null
	) || status=$?
	bitmaps=$(qemu-img info --output=json disk.qcow2 2>/dev/null |
		jq -r '."format-specific".data.bitmaps // [] | map(.name + " " + (.flags - ["auto"] | join(","))) | join("; ")')
	echo "room for $1 bytes: exit status $status, bitmaps: ${bitmaps:-none}"
}

{
	with_room 65536
	with_room 0
} | tee seen
diff - seen <<'SEEN' || { echo 'that has changed' >&2; exit 1; }
room for 65536 bytes: exit status 0, bitmaps: one in-use
room for 0 bytes: exit status 1, bitmaps: none
SEEN
