# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# For the tests of the packages: systems of a suite of Debian's that they are installed in. These run on the host: the
# packages' scripts see a system of their own, whose /sys is an empty directory.

# fresh_system SUITE PACKAGE...: sets ROOT to a system of nothing but apt; the packages are there to be installed.
fresh_system()
{
	local tree

	[ "$(id -u)" = 0 ] || skip 'the right to make a system of another suite'
	tree=$("$VBLK_TOP/scripts/suite-tree" "$@") || skip "a tree of $1"
	ROOT=$VBLK_BUILD/suites/$NAME
	cleanup rm -rf --one-file-system "$ROOT"
	run cp -a "$tree" "$ROOT"
	run mkdir "$ROOT/debs"
	cat >"$ROOT/usr/sbin/policy-rc.d" <<-'END'
		#!/bin/sh
		exit 101
	END
	chmod +x "$ROOT/usr/sbin/policy-rc.d"
}

# inside COMMAND...: run it in the system. No initramfs is made: it would take most of the time.
inside()
{
	unshare --mount --pid --fork --kill-child sh -c 'mount -t proc proc "$0/proc" && exec chroot "$0" env -i "$@"' "$ROOT" \
		INITRD=No DEBIAN_FRONTEND=noninteractive LC_ALL=C PATH=/usr/sbin:/usr/bin:/sbin:/bin "$@"
}

# gets PACKAGE...: installed, by name or as a file; what was said is in $TMP/said.
gets()
{
	local wanted=() package file

	for package; do
		# One of $ROOT/debs may be a glob.
		for file in "$ROOT"$package; do
			[ -e "$file" ] && wanted+=("${file#"$ROOT"}")
		done
		[[ $package == /* ]] || wanted+=("$package")
	done
	echo "+ apt-get install ${wanted[*]}" >&2
	inside apt-get -q -y --no-install-recommends install "${wanted[@]}" >"$TMP/said" 2>&1 || {
		cat "$TMP/said" >&2
		fail "cannot install $*"
	}
	cat "$TMP/said" >&2
}

# said WORDS
said()
{
	grep -q -F -e "$*" "$TMP/said" || fail "not told: $*"
}

# packages VERSION: built from this tree, into $ROOT/debs.
packages()
{
	local deb

	for deb in $(PACKAGE_VERSION=$1 BUILD_DIR=$TMP/$1 "$VBLK_TOP/packaging/deb" 2>"$TMP/build"); do
		cp "$deb" "$ROOT/debs"
	done
	[ -e "$ROOT/debs/vblk-dkms_${1}_all.deb" ] || {
		cat "$TMP/build" >&2
		fail "no packages of version $1"
	}
}

# has_modules KERNEL VERSION: both are there, of this version of the packages, and for that kernel.
has_modules()
{
	local module magic

	inside dkms status vblk -k "$1" | grep -q "^vblk/$2, $1,.*: installed" || fail "no modules of $2 for $1"
	for module in dm-qcow2 vhost_blk; do
		magic=$(inside modinfo -k "$1" -F vermagic "$module") || fail "no $module for $1"
		[ "${magic%% *}" = "$1" ] || fail "$module is for $magic"
	done
}

has_no_modules()
{
	[ -z "$(find "$ROOT/usr/lib/modules/$1" "$ROOT/lib/modules/$1" -name 'dm-qcow2*' -o -name 'vhost_blk*')" ] ||
		fail "modules for $1"
}

# keep_for_vm SUITE: the system as it is, as build/suites/installed-SUITE, for tests that run in the VM.
keep_for_vm()
{
	local kept=$VBLK_BUILD/suites/installed-$1

	run rm -rf --one-file-system "$kept" "$kept.new"
	run cp -a "$ROOT" "$kept.new"
	run mv "$kept.new" "$kept"
}

# kernel_of GLOB: the release of the kernel whose headers are there.
kernel_of()
{
	local dir

	for dir in "$ROOT"/usr/src/linux-headers-$1-amd64; do
		[ -d "$dir" ] || fail "no headers of a kernel $1"
		echo "${dir##*/linux-headers-}"
	done
}

# attached NAME UUID: as the kernel shows a device.
attached()
{
	run mkdir -p "$ROOT/sys/block/dm-0/dm"
	echo "$1" >"$ROOT/sys/block/dm-0/dm/name"
	echo "$2" >"$ROOT/sys/block/dm-0/dm/uuid"
}

none_attached()
{
	run rm -r "$ROOT/sys/block"
}

# upgrade_and_remove KERNEL: the modules are those of the new version; who has attached disks keeps the packages.
upgrade_and_remove()
{
	local package

	packages 0.2
	attached web VBLK-0123
	gets '/debs/vblk-*_0.2_*.deb'
	has_modules "$1" 0.2
	inside dkms status vblk | grep -q vblk/0.1 && fail 'the old version is still there'
	for package in vblk-dkms vblk-utils; do
		! inside apt-get -q -y remove $package >"$TMP/said" 2>&1 || fail "$package was removed"
		said "$package: not removed: disks are attached: web"
		said 'hint: vblk-detach web'
	done
	has_modules "$1" 0.2
	run inside vblk --help >/dev/null
	attached other LVM-0123
	run inside apt-get -q -y purge vblk-dkms vblk-utils vblk-doc
	has_no_modules "$1"
	[ -z "$(find "$ROOT" -xdev -path "$ROOT/debs" -prune -o -path "$ROOT/sys" -prune -o \
		-name '*vblk*' ! -name '*.list' -print)" ] ||
		fail "left: $(find "$ROOT" -xdev -name '*vblk*' ! -path "$ROOT/debs/*")"
	none_attached
}
