# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# Nested guests: stock QEMU/KVM guests inside the VM, on the system that tests/vm/guest-image makes. The disk
# under test is /dev/vda there. An agent in the guest (tests/vm/guest-init) runs the scripts of guest_run.

declare -A guest_pid guest_port guest_partial

# guest_start NAME DISK [OPTION...] [QEMU-ARG...]: start a guest, and return when it is up. Nested in an emulated VM, a
# guest now and then panics in its first instructions in user mode, or stops for good while it boots: one that has said
# nothing yet is started again, once, and the log has what it was doing.
# DISK is the socket of a vhost-user-blk server, a file or device for QEMU's own virtio-blk, or "-".
# Options, before QEMU's: --queues N, --smp N, --mem MIB.
guest_start()
{
	guest_launch "$@"
	if ! guest_read "$1" $guest_boot_limit && guest_alive "$1"; then
		echo "guest $1: $guest_trouble while booting; starting it once more"
		guest_examine "$1"
		guest_kill "$1"
		guest_launch "$@"
		guest_read "$1" $guest_boot_limit
	fi
	guest_expect_up "$1"
}

# Several times what a boot takes, in seconds.
guest_boot_limit=240

# guest_launch NAME DISK ...: the same, but do not wait for it.
guest_launch()
{
	local name=$1 disk=$2 queues=1 smp=1 mem=384 fd
	shift 2

	while [[ ${1:-} == --* ]]; do
		case $1 in
		--queues) queues=$2 ;;
		--smp) smp=$2 ;;
		--mem) mem=$2 ;;
		*) fail "guest_launch: no option $1" ;;
		esac
		shift 2
	done
	guest_needs
	rm -f "$TMP/$name".{agent,monitor}.{in,out}
	mkfifo "$TMP/$name".{agent,monitor}.{in,out}
	# Both ends stay open here, so that nothing blocks or breaks when QEMU comes and goes.
	exec {fd}<>"$TMP/$name.agent.out"
	guest_port[$name]=$fd
	guest_partial[$name]=
	# shellcheck disable=SC2046 # a list of words
	guest_qemu "$name" "$smp" "$mem" $(guest_disk "$disk" "$queues") "$@" &
	guest_pid[$name]=$!
	cleanup guest_end "$name"
}

# Each page that a guest touches first is a trip through two hypervisors: few large pages, not many small ones.
guest_needs()
{
	requires qemu-system-x86_64
	[ ! -e $guest_large_pages ] || echo always >$guest_large_pages
	pidof -q hold-kvm || guest_alone guest_start_kvm
	mkdir -p $guest_system
	mountpoint -q $guest_system || mount -o ro $guest_system_disk $guest_system
}

guest_large_pages=/sys/kernel/mm/transparent_hugepage/shmem_enabled

# What tests/vm/guest-image has made.
guest_system_disk=/dev/disk/by-id/virtio-vblk-guest
guest_system=/run/vblk-guest

# Loading KVM, and guests that come and go, have the kernel patch its code, which an emulated VM may not survive: see
# hold-kvm.c. So it is done once in a boot, and no other processor runs meanwhile. The holder is no test's: it outlives
# this one.
guest_start_kvm()
{
	if grep -q -w svm /proc/cpuinfo; then
		modprobe kvm_amd
	elif grep -q -w vmx /proc/cpuinfo; then
		modprobe kvm_intel
	fi
	[ -w /dev/kvm ] || return 0
	(
		echo 0 >/sys/fs/cgroup/cgroup.procs
		exec setsid "$VBLK_BUILD/tests/hold-kvm"
	)
}

# guest_alone COMMAND: run it while no other processor is online.
guest_alone()
{
	local others

	others=$(ls /sys/devices/system/cpu/cpu[1-9]*/online 2>/dev/null)
	# shellcheck disable=SC2086 # a list of files
	echo 0 | tee $others >/dev/null
	"$@"
	# shellcheck disable=SC2086
	echo 1 | tee $others >/dev/null
}

# guest_reconnect: the option that makes this QEMU connect again. 11 does not know the old name, 9.1 not the new one.
guest_reconnect()
{
	if grep -q -a reconnect-ms "$(command -v qemu-system-x86_64)"; then
		echo reconnect-ms=1000
	else
		echo reconnect=1
	fi
}

# guest_disk DISK QUEUES: QEMU's options for the disk; no word of them has a space.
guest_disk()
{
	case $1 in
	-)
		return
		;;
	*.sock)
		echo "-chardev socket,id=disk,path=$1,$(guest_reconnect)"
		echo "-device vhost-user-blk-pci,chardev=disk,num-queues=$2"
		;;
	*)
		echo "-drive file=$1,format=raw,if=none,id=disk,cache=none"
		echo "-device virtio-blk-pci,drive=disk,num-queues=$2,serial=plain"
		;;
	esac
}

# What a guest does not need to boot. Each access to a device takes it out to QEMU, tens of thousands of times a boot, and
# each of these costs most where the guest's processor is emulated twice.
guest_machine=q35,sata=off,smbus=off,vmport=off,i8042=off

# The same for its kernel: no early look at every slot of every PCI bus, where a processor of this family would have an AGP
# aperture (that is a fourth of the boot), no tests of its own ciphers nor of an entropy source, one serial port, plain calls,
# no search for a timer that works.
guest_append='console=ttyS0 quiet pci=noearly cryptomgr.notests initcall_blacklist=jent_mod_init 8250.nr_uarts=1'
guest_append+=' mitigations=off nokaslr norandmaps no_timer_check'

# And for those who examine a guest that hangs: an NMI is a panic, with the stacks of all tasks.
guest_append+=' sysctl.kernel.panic_on_unrecovered_nmi=1 panic_print=1'

# The guest's memory is shared: a vhost-user server has to see it. Without KVM, QEMU emulates; the buffer of its
# translations stays small, as each page of a process of a user-mode kernel may be a mapping for the host, which has
# vm.max_map_count for them. A test that is stopped can still examine the guest: the signal is for the test's process group.
guest_qemu()
{
	local name=$1 smp=$2 mem=$3 timers=off
	shift 3

	# KVM tells a guest how fast its timers are; others measure them.
	[ -w /dev/kvm ] || timers=on
	exec setsid qemu-system-x86_64 -machine "$guest_machine,hpet=$timers,pit=$timers,memory-backend=mem" \
		-accel kvm -accel tcg,tb-size=32 -cpu max,-xsave -smp "$smp" -m "$mem" \
		-object "memory-backend-memfd,id=mem,size=${mem}M,share=on" \
		-kernel $guest_system/boot/vmlinux -initrd $guest_system/boot/initramfs \
		-append "$guest_append" -nodefaults -display none -serial "file:$TMP/$name.console" \
		-chardev "pipe,id=agent,path=$TMP/$name.agent" -device virtio-serial-pci \
		-device virtserialport,chardev=agent,name=vblk.agent \
		-chardev "pipe,id=monitor,path=$TMP/$name.monitor" -monitor chardev:monitor \
		"$@" -drive "file=$guest_system_disk,format=raw,if=none,id=tools,readonly=on" \
		-device virtio-blk-pci,drive=tools,serial=vblk-tools </dev/null
}

guest_alive()
{
	kill -0 "${guest_pid[$1]}" 2>/dev/null
}

# guest_read NAME [SECONDS]: the agent's next line, in $guest_line. Fails when the guest is gone or has panicked, or says
# nothing for so long; $guest_trouble.
guest_read()
{
	local name=$1 deadline=$((SECONDS + ${2:-100000} * ${VBLK_TIMEOUT_SCALE:-1})) part

	guest_line=
	guest_trouble=
	until IFS= read -r -t 2 -u "${guest_port[$name]}" part; do
		guest_partial[$name]+=$part
		if ! guest_alive "$name"; then
			guest_trouble='QEMU is gone'
		elif guest_has_panicked "$name"; then
			guest_trouble='its kernel has panicked'
		elif [ $SECONDS -ge $deadline ]; then
			guest_trouble="silent for $2 seconds"
		fi
		[ -z "$guest_trouble" ] || return 1
	done
	guest_line=${guest_partial[$name]}$part
	guest_partial[$name]=
}

guest_has_panicked()
{
	grep -q -s -a 'Kernel panic' "$TMP/$1.console"
}

# guest_examine NAME: print its console; a guest that hangs is made to panic first, and tells what its tasks were doing.
guest_examine()
{
	local tries

	if guest_alive "$1" && ! guest_has_panicked "$1"; then
		guest_monitor "$1" nmi
		for ((tries = 0; tries < 150; tries++)); do
			! grep -q -s -a 'end Kernel panic' "$TMP/$1.console" || break
			sleep 0.1
		done
	fi
	echo "guest $1: its console:"
	cat "$TMP/$1.console"
}

# guest_up NAME: wait until the guest has booted, or booted again.
guest_up()
{
	guest_read "$1" $guest_boot_limit
	guest_expect_up "$1"
}

guest_expect_up()
{
	[ "$guest_line" = +up ] || fail "guest $1: ${guest_trouble:-said $guest_line} while booting"
	echo "guest $1: up"
}

guest_send()
{
	local script

	script=$(base64 -w 0)
	printf '%s\n' "$script" >"$TMP/$1.agent.in"
}

# guest_run NAME [SECONDS]: run the shell script on stdin in the guest: its output, and its exit status. It fails, too,
# when the script says nothing for so long.
guest_run()
{
	guest_send "$1"
	while guest_read "$@"; do
		case $guest_line in
		=*) return "${guest_line#=}" ;;
		' '*) printf '%s\n' "${guest_line# }" ;;
		*) fail "guest $1: has rebooted, says $guest_line" ;;
		esac
	done
	fail "guest $1: $guest_trouble"
}

# guest_monitor NAME COMMAND...: give QEMU's monitor a command; what it answers is not looked at.
guest_monitor()
{
	local name=$1
	shift

	echo "$*" >"$TMP/$name.monitor.in"
}

# guest_wait NAME SECONDS: wait until QEMU has exited by itself.
guest_wait()
{
	timeout "$(($2 * ${VBLK_TIMEOUT_SCALE:-1}))" tail --pid="${guest_pid[$1]}" -s 0.1 -f /dev/null ||
		fail "guest $1: QEMU still runs after $2 seconds"
	wait "${guest_pid[$1]}" || fail "guest $1: QEMU's exit status $?"
}

# guest_stop NAME: power the guest off.
guest_stop()
{
	guest_send "$1" <<<'sync; poweroff -f'
	guest_wait "$1" 60
}

# guest_reboot NAME
guest_reboot()
{
	guest_send "$1" <<<'sync; reboot -f'
	guest_up "$1"
}

# guest_kill NAME: QEMU dies, as if by the kernel's hand.
guest_kill()
{
	kill -KILL "${guest_pid[$1]}"
	wait "${guest_pid[$1]}" 2>/dev/null
	return 0
}

guest_end()
{
	guest_examine "$1"
	! guest_alive "$1" || guest_kill "$1"
}

# guest_bios_says SOCKET TEXT: a guest without a kernel of its own boots from the disk, and what boots there says TEXT on
# its serial port. It is killed then.
guest_bios_says()
{
	local bios

	guest_needs
	rm -f "$TMP/bios.serial"
	# shellcheck disable=SC2046 # a list of words
	qemu-system-x86_64 -machine "$guest_machine,memory-backend=mem" -accel kvm -accel tcg,tb-size=32 -m 64 \
		-object memory-backend-memfd,id=mem,size=64M,share=on -nodefaults -display none \
		-serial "file:$TMP/bios.serial" $(guest_disk "$1" 1) </dev/null &
	bios=$!
	cleanup sh -c "kill -KILL $bios 2>/dev/null; :"
	wait_until $guest_boot_limit guest_bios_has_said $bios "$2"
	kill -KILL $bios
	wait $bios 2>/dev/null
	return 0
}

guest_bios_has_said()
{
	kill -0 "$1" 2>/dev/null || fail "QEMU is gone"
	grep -q -s -a -F "$2" "$TMP/bios.serial"
}
