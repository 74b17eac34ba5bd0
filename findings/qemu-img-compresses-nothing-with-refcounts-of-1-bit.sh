#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# QEMU 7.2 (Debian 1:7.2+dfsg-7+deb12u18+b3; tried by hand, 10.0.13 of Debian 13 is the same): "qemu-img convert -c -o refcount_bits=1"
# makes an image that is as long as one without -c, though all of its clusters are compressed.
#
# A backup has no internal snapshots, so refcounts of 1 bit look like savings that cost nothing. But the refcount of a host cluster also
# counts the compressed clusters that lie in it. qcow2_alloc_bytes() begins a new host cluster when it is full, and the rest of the old
# one is left unused. With 1 bit there is 1 compressed cluster in a host cluster, with 2 bits there are 3, with 4 bits 15, and 8 bits
# are too few still where more than 255 would fit. Nothing says so, and "qemu-img check" counts all clusters as compressed. Where files
# have holes, "du" shows a part of the loss only; a logical volume, an NBD server, or a copy without holes, has all of it.
#
# Seen, with 64 MiB of a log, and 64 MiB of clusters that are one byte each, repeated; the size is that of the image to its last
# cluster, in percent of the image without -c:
#
#	log, 1 bit: 1024 clusters are compressed, size 100 %
#	log, 2 bit: 1024 clusters are compressed, size 33.7 %
#	log, 16 bit: 1024 clusters are compressed, size 3.4 %
#	bytes, 1 bit: 1024 clusters are compressed, size 100 %
#	bytes, 8 bit: 1024 clusters are compressed, size 0.9 %
#	bytes, 16 bit: 1024 clusters are compressed, size 0.6 %
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

seq -f '2026-11-01 web1 kernel: eth0: packet %09.0f from 10.0.0.1 was dropped, queue is full' 900000 | head -c 64M >log
for ((i = 0; i < 1024; i++)); do
	head -c 65536 /dev/zero | tr '\0' "\\$(printf %o $((i % 255 + 1)))"
done >bytes

# with_refcounts BITS DISK: compress that.
with_refcounts()
{
	local full

	qemu-img convert -f raw -O qcow2 -o "refcount_bits=$1" "$2" full.qcow2
	full=$(qemu-img check --output=json full.qcow2 | jq '."image-end-offset"')
	qemu-img convert -c -f raw -O qcow2 -o "refcount_bits=$1" "$2" compressed.qcow2
	qemu-img check --output=json compressed.qcow2 | jq -r --arg what "$2, $1 bit" --argjson full "$full" \
		'"\($what): \(."compressed-clusters") clusters are compressed, size \((."image-end-offset" * 1000 / $full | floor) / 10) %"'
}

{
	with_refcounts 1 log
	with_refcounts 2 log
	with_refcounts 16 log
	with_refcounts 1 bytes
	with_refcounts 8 bytes
	with_refcounts 16 bytes
} | tee seen
diff - seen <<'SEEN' || { echo 'that has changed' >&2; exit 1; }
log, 1 bit: 1024 clusters are compressed, size 100 %
log, 2 bit: 1024 clusters are compressed, size 33.7 %
log, 16 bit: 1024 clusters are compressed, size 3.4 %
bytes, 1 bit: 1024 clusters are compressed, size 100 %
bytes, 8 bit: 1024 clusters are compressed, size 0.9 %
bytes, 16 bit: 1024 clusters are compressed, size 0.6 %
SEEN
