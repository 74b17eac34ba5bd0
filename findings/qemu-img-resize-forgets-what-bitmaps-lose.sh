#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# QEMU 7.2 (Debian 1:7.2+dfsg-7+deb12u18+b3): an image that is made smaller and larger again reads as zero where it had data, and its
# persistent dirty bitmap, which records, says that nothing has changed.
#
# Whoever makes an incremental backup by that bitmap has the old data there. Bits behind the new end are dropped as the image
# shrinks, and those of the new part are clean as it grows: bdrv_dirty_bitmap_truncate() follows the size, and a resize is no write
# (BDRV_TRACKED_TRUNCATE marks nothing dirty).
#
# Seen:
#
#	48 MiB: data, then zeroes
#	changed by the bitmap: 0 ranges
#
# Needs apt and dpkg-deb, and the libraries of qemu-utils. Fails when that is not what it sees.
set -eu

version=1:7.2+dfsg-7+deb12u18+b3
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"

apt-get -q -q download "qemu-utils=$version"
dpkg-deb -x qemu-utils_*.deb root
PATH=$dir/root/usr/bin:$PATH

reads_as()
{
	qemu-io -f qcow2 -c "read -P $1 48M 1M" disk.qcow2 | grep -q '^read 1048576/1048576' &&
		! qemu-io -f qcow2 -c "read -P $1 48M 1M" disk.qcow2 2>&1 | grep -q 'verification failed'
}

qemu-img create -q -f qcow2 disk.qcow2 64M
qemu-io -f qcow2 -c 'write -q -P 7 48M 1M' disk.qcow2
qemu-img bitmap --add -g 65536 disk.qcow2 changes
reads_as 7
qemu-img resize -q --shrink disk.qcow2 32M
qemu-img resize -q disk.qcow2 64M
reads_as 0
echo '48 MiB: data, then zeroes'

qemu-nbd --read-only --format=qcow2 --bitmap=changes --socket="$dir/socket" --fork disk.qcow2
ranges=$(qemu-img map --output=json --image-opts \
	"driver=nbd,server.type=unix,server.path=$dir/socket,x-dirty-bitmap=qemu:dirty-bitmap:changes" |
	grep -c '"data": false' || :)
echo "changed by the bitmap: $ranges ranges"
[ "$ranges" = 0 ]
