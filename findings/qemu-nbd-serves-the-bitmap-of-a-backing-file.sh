#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# QEMU 7.2 (Debian 1:7.2+dfsg-7+deb12u18+b3): qemu-nbd --bitmap=NAME of an overlay that has no bitmap of that name serves the one of the
# image below it, if that has one, without a word. What was written to the overlay is clean in it.
#
# An external snapshot is enough: the bitmap stays in the image below, where nothing is written any more, and who pulls an
# incremental backup from the overlay copies what had changed before the snapshot, and nothing that has changed since. It ends without
# an error, and the copy is wrong. A name that no image of the chain knows is refused.
#
# Seen:
#
#	the image below: dirty 0+65536
#	the overlay, written at 1 MiB: dirty 0+65536
#	another name: refused
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

# dirty IMAGE: what its bitmap says to a client.
dirty()
{
	local socket=$dir/socket

	# It ends with its client.
	qemu-nbd --read-only --format=qcow2 --bitmap=changes --socket="$socket" --fork "$1"
	# Where the bitmap is set there is "no data", for this client.
	qemu-img map --output=json --image-opts \
		"driver=nbd,server.type=unix,server.path=$socket,x-dirty-bitmap=qemu:dirty-bitmap:changes" |
		jq -r '[.[] | select(.data | not) | "\(.start)+\(.length)"] | join(" ")'
}

qemu-img create -q -f qcow2 below.qcow2 4M
qemu-img bitmap --add below.qcow2 changes
qemu-io -f qcow2 -c 'write -q 0 64k' below.qcow2
qemu-img create -q -f qcow2 -b below.qcow2 -F qcow2 overlay.qcow2
qemu-io -f qcow2 -c 'write -q 1M 64k' overlay.qcow2
{
	echo "the image below: dirty $(dirty below.qcow2)"
	echo "the overlay, written at 1 MiB: dirty $(dirty overlay.qcow2)"
	qemu-nbd --read-only --format=qcow2 --bitmap=other --socket="$dir/socket" --fork overlay.qcow2 2>/dev/null ||
		echo 'another name: refused'
} | tee seen
diff - seen <<'SEEN' || { echo 'that has changed' >&2; exit 1; }
the image below: dirty 0+65536
the overlay, written at 1 MiB: dirty 0+65536
another name: refused
SEEN
