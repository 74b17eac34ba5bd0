# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# Pieces to make an initramfs of; both the test VM's and the nested guest's are made of them. Needs
# $top, the source tree.

# initramfs_base DIR INIT: the directories, a static busybox, and INIT as /init.
initramfs_base()
{
	mkdir -p "$1"/{bin,dev,etc,mnt,modules,proc,run,sys,tmp}
	cp /bin/busybox "$1/bin/"
	cp "$2" "$1/init"
	chmod 755 "$1/init"
}

# initramfs_modules DIR RELEASE NAME...: modules in load order, numbered; a built-in one needs nothing.
initramfs_modules()
{
	local dir=$1 release=$2 n=10 name module to
	shift 2

	for name; do
		modprobe -d "$top/build/kernels/$release/root" -S "$release" --show-depends "$name" |
			sed -n 's/^insmod \([^ ]*\).*/\1/p'
	done | awk '!seen[$0]++' | while read -r module; do
		to=$dir/modules/$n-$(basename "$module")
		n=$((n + 1))
		case $module in
		*.xz) xz -dc "$module" >"${to%.xz}" ;;
		*.zst) zstd -q -dc "$module" >"${to%.zst}" ;;
		*) cp "$module" "$to" ;;
		esac
	done
}

# initramfs_program DIR PROGRAM...: programs in DIR/bin with the libraries that they are linked with.
initramfs_program()
{
	local dir=$1 program file
	shift

	mkdir -p "$dir/bin"
	for program; do
		program=$(command -v "$program")
		cp -L "$program" "$dir/bin/"
		ldd "$program" | grep -o '/[^ ]*' | while read -r file; do
			mkdir -p "$dir$(dirname "$file")"
			cp -L "$file" "$dir$file"
		done
	done
}

# initramfs_pack DIR OUT [FILTER]: packed by FILTER (gzip). OUT appears under its name only when whole, as
# several runs may make the same one.
initramfs_pack()
{
	(cd "$1" && find . | cpio -o -H newc --quiet | ${3:-gzip -1}) >"$2.$$"
	mv "$2.$$" "$2"
}
