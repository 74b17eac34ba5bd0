# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# Runs the examples of Documentation/dm-tools.rst as they stand there: with its names, as nobody else has them in a VM.
# Sourced after tests/dm-qcow2/lib.sh.
#
# A block of examples is what is indented behind "::". Its lines "    # COMMAND", and those after one that are indented
# deeper, are commands; others are what they print.

PAGE=$VBLK_TOP/Documentation/dm-tools.rst

# examples [TITLE N]: the commands of block number N of a section; without, the title and the number of each block.
examples()
{
	awk -v title="${1:-}" -v number="${2:-}" '
		/^=+$/ { section = before; blocks = 0 }
		{ before = $0 }
		/::$/ { opened = 1; is_new = 1; next }
		/^[^ ]/ { opened = 0 }
		!opened { next }
		/^    # / && is_new { is_new = 0; blocks++; if (title == "") print section "\t" blocks }
		/^    # / { is_command = 1 }
		/^    [^# ]/ || /^$/ { is_command = 0 }
		is_command && section == title && blocks == number { print substr($0, 7) }' "$PAGE"
}

# play TITLE N: run a block; each of its commands has to succeed.
play()
{
	local commands

	commands=$(examples "$1" "$2")
	[ -n "$commands" ] || fail "the page has no block $2 of \"$1\""
	echo "= $1, $2" >&2
	bash -e -u -o pipefail -x -c "$commands" </dev/null || fail "exit status $?: $1, block $2"
}

# stage MIB: /var/lib/images and /backup are on a fresh file system, which is not for what a test compares with.
stage()
{
	local dir

	scratch_fs ext4 "$1"
	for dir in /var/lib/images /backup; do
		run mkdir -p "$dir" "$SCRATCH_MNT$dir"
		run mount --bind "$SCRATCH_MNT$dir" "$dir"
		cleanup umount "$dir"
	done
}

# disk NAME SIZE [VBLK-ATTACH-OPTION...]: a new image, attached under that name.
disk()
{
	local name=$1 size=$2
	shift 2

	new_image "/var/lib/images/$name.qcow2" "$size"
	run vblk-attach --no-vhost "$@" "/var/lib/images/$name.qcow2" "$name"
	cleanup disk_left "$name"
}

disk_left()
{
	[ ! -e "/dev/mapper/$1" ] || vblk-detach --force "$1"
}

# end_disk NAME: detach it; nothing is wrong with its image.
end_disk()
{
	run vblk-detach "$1"
	check_image "/var/lib/images/$1.qcow2"
}

# goes NAME...: devices that the page makes, the topmost first, and whatever is mounted from them, are removed at the
# end if they are still there.
goes()
{
	cleanup gone "$@"
}

gone()
{
	local name

	for name; do
		[ -e "/dev/mapper/$name" ] || continue
		dmsetup resume "$name"
		umount -q "/dev/mapper/$name"
		dmsetup remove --retry "$name"
	done
}

# volume PATH MIB: a block device of that name, where the page has a logical volume.
volume()
{
	scratch_dev "$2"
	run mkdir -p "${1%/*}"
	run ln -s "$SCRATCH_DEV" "$1"
	cleanup no_volume "$1"
}

# LVM makes no group whose directory is there.
no_volume()
{
	rm "$1"
	rmdir --ignore-fail-on-non-empty "${1%/*}"
}

# lvm_sees REGEX...: LVM looks into these devices and no others, runs nothing in the background, and keeps nothing.
lvm_sees()
{
	requires lvm
	export LVM_SYSTEM_DIR=$TMP/lvm LVM_SUPPRESS_FD_WARNINGS=1
	mkdir -p "$LVM_SYSTEM_DIR"
	cat >"$LVM_SYSTEM_DIR/lvm.conf" <<-EOF
		devices {
			use_devicesfile = 0
			scan = [ "/dev/mapper" ]
			global_filter = [ $(printf '"a|^%s$|", ' "$@")"r|.*|" ]
		}
		activation { monitoring = 0 }
		global { use_lvmpolld = 0 }
		backup { backup = 0 archive = 0 }
	EOF
}

# volume_group NAME MIB: a fresh one, of whose device alone LVM knows.
volume_group()
{
	scratch_dev "$2"
	lvm_sees "$SCRATCH_DEV"
	run pvcreate -q "$SCRATCH_DEV"
	run vgcreate -q "$1" "$SCRATCH_DEV"
	cleanup group_left "$1"
}

group_left()
{
	! vgs "$1" >/dev/null 2>&1 || vgremove -q -q -f -y "$1"
}

# put_places SEED DEVICE MIRROR...: noise of 4 KiB to 256 KiB in six places of the first 32 MiB, into a device and the
# mirrors.
put_places()
{
	local seed=$1 place at bytes file
	shift

	make_noise 2
	for place in {0..5}; do
		at=$(((place * 5 << 20) + seed * 77824))
		bytes=$((4096 + place * 51200))
		put_noise "$1" $at $bytes direct
		for file in "${@:2}"; do
			put_noise "$file" $at $bytes
		done
	done
}
