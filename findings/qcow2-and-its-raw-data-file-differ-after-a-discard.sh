#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# QEMU 7.2 (Debian 1:7.2+dfsg-7+deb12u18+b3; tried by hand, 10.0.13 of Debian 13 is the same): a discard makes a qcow2 image read as
# zeroes where its raw data file, data_file_raw=on, still has the data, if that is served by qemu-nbd as it is by default.
#
# By the format, a raw data file can be read without the image, as the same disk. A discard gives the cluster a zero flag in the image and
# is passed on to the data file, whatever becomes of it there. An NBD server may do nothing about a trim, and qemu-nbd does nothing unless
# it has --discard=unmap; no error comes back. So a discard is where the disk becomes two: a backup of the image and one of
# the data file are not the same any more, and who drops the image and goes on with the data file has old data where the guest has read
# zeroes. "qemu-img check" finds nothing. Write-zeroes, with unmap or without, are written to both.
#
# Seen:
#
#	write-zeroes, qemu-nbd: image zeroes, data file zeroes, compare 0, check 0
#	write-zeroes that unmap, qemu-nbd: image zeroes, data file zeroes, compare 0, check 0
#	discard, qemu-nbd: image zeroes, data file data, compare 1, check 0
#	discard, qemu-nbd --discard=unmap: image zeroes, data file zeroes, compare 0, check 0
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

# reads_as FORMAT FILE: what is in its first MiB.
reads_as()
{
	local what

	for what in 0:zeroes 7:data; do
		if ! qemu-io -r -U -f "$1" -c "read -P ${what%:*} 0 1M" "$2" 2>&1 | grep -q 'verification failed'; then
			echo "${what#*:}"
		fi
	done
}

# try WHAT COMMAND SERVER: do that to 1 MiB of 4 MiB of data, in a data file that this serves.
try()
{
	local compare=0 check=0 socket=$dir/socket
	local image=driver=qcow2,discard=unmap,file.driver=file,file.filename=$dir/disk.qcow2
	local data=data-file.driver=nbd,data-file.server.type=unix,data-file.server.path=$socket

	rm -f disk.raw disk.qcow2
	qemu-img create -q -f qcow2 -o data_file=disk.raw,data_file_raw=on disk.qcow2 16M
	qemu-io -f qcow2 -c 'write -q -P 7 0 4M' disk.qcow2
	# It ends with its client.
	$3 --format=raw --socket="$socket" --fork disk.raw
	qemu-io --image-opts "$image,$data" -c "$2" >/dev/null
	qemu-img compare -U -q -f qcow2 -F raw disk.qcow2 disk.raw || compare=$?
	qemu-img check -U -q -f qcow2 disk.qcow2 || check=$?
	echo "$1, $3: image $(reads_as qcow2 disk.qcow2), data file $(reads_as raw disk.raw), compare $compare, check $check"
}

{
	try write-zeroes 'write -z 0 1M' qemu-nbd
	try 'write-zeroes that unmap' 'write -z -u 0 1M' qemu-nbd
	try discard 'discard 0 1M' qemu-nbd
	try discard 'discard 0 1M' 'qemu-nbd --discard=unmap'
} | tee seen
diff - seen <<'SEEN' || { echo 'that has changed' >&2; exit 1; }
write-zeroes, qemu-nbd: image zeroes, data file zeroes, compare 0, check 0
write-zeroes that unmap, qemu-nbd: image zeroes, data file zeroes, compare 0, check 0
discard, qemu-nbd: image zeroes, data file data, compare 1, check 0
discard, qemu-nbd --discard=unmap: image zeroes, data file zeroes, compare 0, check 0
SEEN
