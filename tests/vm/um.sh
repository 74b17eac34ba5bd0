# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# The machine of a user-mode kernel: a process of the host's. Used by tests/vm/boot; needs its $dir, $share, $kernel,
# $initramfs and $disks. It has one processor and no KVM, but nothing is emulated. Guests are, by QEMU.

# The kernel reads the host's files by itself. Its memory is a file that it has removed, in /dev/shm.
start_machine()
{
	local disk options=() number=0

	for disk in "${disks[@]}"; do
		truncate -s 8G "$dir/$disk"
		options+=("ubd$number=$dir/$disk")
		number=$((number + 1))
	done
	# Others have this one open as well.
	[ ! -e "$dir/tree/build/guest/tools" ] || options+=("ubd${number}rc=$dir/tree/build/guest/tools")
	# shellcheck disable=SC2046 # a list of words
	"$kernel" mem="${VM_MEM:-4G}" initrd="$initramfs" "${options[@]}" con=null con0=null,fd:1 umid=vm uml_dir="$dir/" \
		vblk.share="$share" $(append) </dev/null >"$dir/console" 2>"$dir/machine.log" &
	machine=$!
}

# examine_machine: it has no NMI.
examine_machine() { :; }
