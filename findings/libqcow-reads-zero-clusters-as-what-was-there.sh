#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# libqcow 20201213 (Debian 20201213-1+b2; qcowmount, and forensic tools on it): clusters of a version 3 image that have the zero flag
# read as what they held before, or, where they have no host cluster any more, as the first bytes of the image file, its header and on;
# without an error. QEMU reads zeroes there.
#
# It takes version 3, and refuses by name what it does not know among its features, extended L2 entries for one. The flag is no
# feature: version 3 has it (bit 0 of a standard L2 entry). So whoever looks at a guest's disk through it finds files whose blocks
# the guest has had zeroed, in places that the guest sees as empty, or the header of a qcow2 image, and a checksum of the disk differs from
# QEMU's.
#
# Seen:
#
#	zeroed, clusters kept:  0x44
#	zeroed, clusters freed: 0x51
#	extended L2 entries:    refused
#
# Needs apt, dpkg-deb and a C compiler, and qemu-utils' libraries. Fails when that is not what it sees.
set -eu

version=20201213-1+b2
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"

apt-get -q -q download "libqcow1=$version" "libqcow-dev=$version" libbfio1=20170123-6 \
	qemu-utils=1:7.2+dfsg-7+deb12u18+b3
for package in *.deb; do
	dpkg-deb -x "$package" root
done
PATH=$dir/root/usr/bin:$PATH
lib=$dir/root/usr/lib/x86_64-linux-gnu

cat >first-byte.c <<-'END'
	#include <stdio.h>
	#include <libqcow.h>

	int main(int argc, char **argv)
	{
		libqcow_file_t *file = NULL;
		unsigned char byte;

		if (argc != 2 || libqcow_file_initialize(&file, NULL) != 1)
			return 2;
		if (libqcow_file_open(file, argv[1], LIBQCOW_OPEN_READ, NULL) != 1 ||
		    libqcow_file_read_buffer_at_offset(file, &byte, 1, 0, NULL) != 1) {
			puts("refused");
			return 0;
		}
		printf("0x%02x\n", byte);
		return 0;
	}
END
cc -I root/usr/include -o first-byte first-byte.c -L "$lib" -Wl,-rpath-link,"$lib" -lqcow

# first_byte IMAGE
first_byte()
{
	qemu-io -r -f qcow2 -c 'read -q -P 0 0 64k' "$1" >&2
	LD_LIBRARY_PATH=$lib ./first-byte "$1"
}

for image in kept freed; do
	qemu-img create -q -f qcow2 "$image" 4M
	qemu-io -f qcow2 -c 'write -q -P 0x44 0 1M' "$image"
done
qemu-io -f qcow2 -c 'write -q -z 0 512k' kept
qemu-io -f qcow2 -d unmap -c 'write -q -z -u 0 512k' freed
qemu-img create -q -f qcow2 -o extended_l2=on extended 4M

{
	echo "zeroed, clusters kept:  $(first_byte kept)"
	echo "zeroed, clusters freed: $(first_byte freed)"
	echo "extended L2 entries:    $(first_byte extended)"
} | tee seen
diff seen - <<-'END'
	zeroed, clusters kept:  0x44
	zeroed, clusters freed: 0x51
	extended L2 entries:    refused
END
