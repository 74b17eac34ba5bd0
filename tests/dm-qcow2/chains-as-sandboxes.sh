# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# Many sandboxes on one base: all are attached at once, each reads the base and writes of its own. Sourced after
# tests/dm-qcow2/lib.sh.

# sandboxes_space GIB: sets SCRATCH_MNT to a file system of that size in a sparse file on the one that there is: what is
# only allocated takes no space.
sandboxes_space()
{
	requires losetup
	run truncate -s "$1"G "$SCRATCH_MNT/space"
	SCRATCH_DEV=$(losetup -f --show --direct-io=on "$SCRATCH_MNT/space") || fail "no loop device"
	cleanup losetup -d "$SCRATCH_DEV"
	scratch_count=$((scratch_count + 1))
	scratch_mount ext4 -N 4096 -E lazy_itable_init=0
}

# sandboxes_made COUNT MIB: overlays on one base, whose first 8 MiB are $NOISE. Space that is prepared for allocation
# counts: an eighth of the size for each that is written to, up to 64 MiB.
sandboxes_made()
{
	local k

	sandbox_bytes=$(($2 << 20))
	base=$SCRATCH_MNT/base.qcow2
	make_noise 8
	own_blocks
	without_udev
	run qemu-img convert -f raw -O qcow2 "$NOISE" "$base"
	run qemu-img resize -q -f qcow2 "$base" "$sandbox_bytes"
	mkdir "$SCRATCH_MNT/sandboxes"
	run qemu-img create -q -f qcow2 -b "$base" -F qcow2 "$SCRATCH_MNT/empty"
	for ((k = 1; k <= $1; k++)); do
		run cp --sparse=always "$SCRATCH_MNT/empty" "$SCRATCH_MNT/sandboxes/$k" 2>/dev/null
	done
	base_sum=$(sha256sum <"$base")
}

sandbox()
{
	echo "/dev/mapper/$NAME-sandbox$1"
}

# without_udev: it has no rules, which would take most of the time and look at the devices; vblk-attach hides its own
# from them.
without_udev()
{
	local rules masks=()

	mkdir -p /run/udev/rules.d
	cleanup udevadm control --reload
	for rules in /lib/udev/rules.d/*.rules; do
		rules=/run/udev/rules.d/${rules##*/}
		: >"$rules"
		masks+=("$rules")
	done
	cleanup rm -f "${masks[@]}"
	run udevadm control --reload
	export DM_DISABLE_UDEV=1
}

# sandboxes_attached FROM TO: tell what each has taken.
sandboxes_attached()
{
	local k began table=''

	for ((k = $1; k <= $2; k++)); do
		table+="${table:+;}$NAME-sandbox$k,,,rw,0 $((sandbox_bytes / 512)) qcow2 $base $SCRATCH_MNT/sandboxes/$k"
	done
	cleanup sandboxes_removed
	began=$(date +%s%N)
	dmsetup create --concise "$table" || fail "sandboxes $1 to $2 are not attached"
	echo "sandboxes $1 to $2: attached in $((($(date +%s%N) - began) / 1000000 / ($2 - $1 + 1))) ms each"
}

sandboxes_removed()
{
	local left=("/dev/mapper/$NAME-sandbox"*)

	[ ! -e "${left[0]}" ] || dmsetup remove --retry "${left[@]##*/}"
}

# attach_us K: the least time, of fifteen, that the kernel takes to attach that sandbox, which is not attached.
attach_us()
{
	local ns

	ns=$(for _ in 1 2 3 4 5; do
		attach-cost $((sandbox_bytes / 512)) "$base $SCRATCH_MNT/sandboxes/$1" || exit
	done | sort -g | head -n 1)
	[ -n "$ns" ] || fail "sandbox $1 is not attached"
	echo $((${ns%.*} / 1000))
}

# base_locks: those on the base, of which each who opens it has some.
base_locks()
{
	local device

	device=$(mountpoint -d "$SCRATCH_MNT")
	grep -c "$(printf ' %02x:%02x:%d ' "${device%:*}" "${device#*:}" "$(stat -c %i "$base")")" /proc/locks
}

# kernel_kib: memory that the kernel has for itself, once the caches have none any more. What is free says less: a processor
# keeps megabytes of pages in hand.
kernel_kib()
{
	udevadm settle
	echo 3 >/proc/sys/vm/drop_caches
	awk '/^(Slab|KernelStack|Percpu):/ { sum += $2 } END { print sum }' /proc/meminfo
}

free_host_kib()
{
	sync -f "$SCRATCH_MNT"
	df --output=avail -k "$SCRATCH_MNT" | tail -n 1
}

# own_place K, own_byte K: where that sandbox writes 4 KiB, and of what.
own_place()
{
	echo $((($1 % 120) * 65536 + 20480))
}

own_byte()
{
	echo $(($1 % 250 + 1))
}

# own_blocks: 4 KiB of each byte there is, from 1 upwards.
own_blocks()
{
	awk 'BEGIN {
		for (byte = 1; byte <= 250; byte++) {
			block = sprintf("%c", byte)
			while (length(block) < 4096)
				block = block block
			printf "%s", block
		}
	}' >"$TMP/own"
	[ "$(stat -c %s "$TMP/own")" = $((250 * 4096)) ] || fail 'awk counts no bytes'
}

sandbox_writes()
{
	dd if="$TMP/own" of="$(sandbox "$1")" bs=4096 count=1 skip=$(($(own_byte "$1") - 1)) seek="$(own_place "$1")" \
		oflag=direct,seek_bytes conv=notrunc,fsync status=none || fail "sandbox $1 cannot write"
}

# sandbox_reads K: the base's data on either side of its own, a cluster each.
sandbox_reads()
{
	local at own

	own=$(own_place "$1")
	for at in $((own - 20480)) $((own + 4096)); do
		cmp -n 20480 -i $at "$(sandbox "$1")" "$NOISE" || fail "sandbox $1 reads something else at $at"
	done
}

# sandbox_is_right K: as QEMU finds it.
sandbox_is_right()
{
	local image=$SCRATCH_MNT/sandboxes/$1 own

	own=$(own_place "$1")
	check_image "$image"
	run cp "$NOISE" "$TMP/want"
	run truncate -s "$sandbox_bytes" "$TMP/want"
	run qemu-io -f raw -c "write -q -P $(own_byte "$1") $own 4096" "$TMP/want"
	same_as_mirror "$TMP/want" "$image"
}

# sandboxes_used COUNT KIB EACH: attach so many, with at most so much memory for each but the first, and the last as fast as
# the first; write to all and read from all; QEMU looks at each EACHth.
sandboxes_used()
{
	local count=$1 each=$3 k before_kib

	before_kib=$(free_host_kib)
	sandboxes_share "$count" "$2"
	for ((k = 1; k <= count; k++)); do
		sandbox_writes $k
	done
	echo "written to: $(((before_kib - $(free_host_kib)) / count)) KiB of the host's space each"
	for ((k = 1; k <= count; k++)); do
		sandbox_reads $k
	done
	run sandboxes_removed
	for ((k = 1; k <= count; k += each)); do
		sandbox_is_right $k
	done
	[ "$(sha256sum <"$base")" = "$base_sum" ] || fail 'the base has changed'
}

# sandboxes_share COUNT KIB: attach so many. By the clock, twice the time of the first is what a busy machine may need for
# the last; tests/bench has the figure. What grows with their number is more than that.
sandboxes_share()
{
	local count=$1 limit=$2 k before kib locks first last

	first=$(attach_us 1)
	sandboxes_attached 1 1
	locks=$(base_locks)
	before=$(kernel_kib)
	for ((k = 2; k < count; k += 100)); do
		sandboxes_attached $k $((k + 99 < count ? k + 99 : count - 1))
	done
	# Before the last one comes and goes many times: the stacks of its threads are freed late.
	kib=$((($(kernel_kib) - before) / (count - 2)))
	last=$(attach_us "$count")
	sandboxes_attached "$count" "$count"
	echo "$((count - 2)) more: $kib KiB of memory each; the first attached in $first us, the last in $last;" \
		"locks on the base: $locks, $(base_locks) with all"
	[ $kib -le "$limit" ] || fail "$kib KiB of memory for each sandbox, $limit are allowed"
	[ "$last" -le $((2 * first)) ] || fail "the last sandbox is attached in $last us, the first in $first"
	[ "$locks" -gt 0 ] || fail 'nobody has locked the base'
	[ "$(base_locks)" = "$locks" ] || fail "the base is not shared: $locks locks, $(base_locks) with all"
}
