# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# Kernels out of Debian's packages, for scripts/kernel and scripts/suite-kernel.

# unpack_packages ROOT RELEASE PACKAGE.deb...: lib is usr/lib there, as on a host: packages have modules in either.
unpack_packages()
{
	local root=$1 release=$2 deb
	shift 2

	mkdir -p "$root/usr/lib"
	ln -s usr/lib "$root/lib"
	for deb; do
		dpkg-deb --fsys-tarfile "$deb" | tar -C "$root" --keep-directory-symlink -xf -
	done
	depmod -b "$root" "$release"
}

# image_of ROOT RELEASE: the kernel, as a path in ROOT. From 7.2 on it lies beside its modules.
image_of()
{
	local image

	for image in "boot/vmlinuz-$2" "usr/lib/modules/$2/vmlinuz"; do
		[ -e "$1/$image" ] && echo "$image" && return
	done
	echo "$2: there is no vmlinuz in $1" >&2
	return 1
}
