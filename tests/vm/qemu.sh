# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# The machine of a VM that QEMU runs. Used by tests/vm/boot; needs its $dir, $share, $kernel, $initramfs and $disks.

disk_options()
{
	local disk

	for disk in "${disks[@]}"; do
		truncate -s 8G "$dir/$disk"
		echo "-drive file=$dir/$disk,format=raw,if=none,id=$disk,cache=unsafe,discard=unmap"
		echo "-device virtio-blk-pci,drive=$disk,serial=$disk,num-queues=2"
	done
}

# The system of nested guests: a disk, as from a share each of its reads would go through two emulated machines.
guest_options()
{
	[ -e "$dir/tree/build/guest/tools" ] || return 0
	echo "-drive file=$dir/tree/build/guest/tools,format=raw,if=none,id=guest,readonly=on"
	echo "-device virtio-blk-pci,drive=guest,serial=vblk-guest"
}

# emulator: QEMU; that of scripts/emulator when it was built, which runs nested guests without losing some.
emulator()
{
	local built=$top/build/emulator/qemu-system-x86_64

	if [ -x "$built" ]; then
		echo "$built -L /usr/share/qemu -L /usr/share/seabios"
	else
		echo qemu-system-x86_64
	fi
}

# start_machine: sets $machine to its process.
start_machine()
{
	rm -f "$dir"/monitor.{in,out}
	mkfifo "$dir"/monitor.{in,out}
	accel=${VM_ACCEL:-$("$top/tests/vm/accel" "$KVER" "$initramfs")}
	# shellcheck disable=SC2046,SC2086 # options are lists of words
	$(emulator) -machine q35 $accel -smp "${VM_SMP:-2}" -m "${VM_MEM:-4G}" \
		-kernel "$kernel" -initrd "$initramfs" -append "console=ttyS0 $(append)" \
		-virtfs local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap \
		-virtfs local,path="$share",mount_tag=out,security_model=none,multidevs=remap \
		$(disk_options) $(guest_options) -nodefaults -display none \
		-chardev "pipe,id=monitor,path=$dir/monitor" -monitor chardev:monitor -serial "file:$dir/console" -no-reboot \
		</dev/null >"$dir/machine.log" 2>&1 &
	machine=$!
}

# examine_machine: where its processors are goes into its log; then, as for any of a kernel's faults, the console tells.
examine_machine()
{
	printf 'info registers -a\nnmi\n' 1<>"$dir/monitor.in"
	timeout 10 cat "$dir/monitor.out" >>"$dir/machine.log" || true
	[[ $accel != *tcg* ]] || touch "$dir/stood-still"
}
