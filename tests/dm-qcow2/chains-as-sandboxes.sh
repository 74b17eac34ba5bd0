# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# Many sandboxes on one base: all are attached at once, each reads the base and writes of its own. Sourced after
# tests/dm-qcow2/lib.sh.

# sandboxes_made COUNT: overlays on one base, whose content QEMU has written to $TMP/content.
sandboxes_made()
{
	local k

	base=$SCRATCH_MNT/base.qcow2
	make_noise 8
	run qemu-img convert -f raw -O qcow2 "$NOISE" "$base"
	run qemu-img resize -q -f qcow2 "$base" 1G
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

# sandboxes_attached FROM TO: sets ATTACH_MS to what each has taken.
sandboxes_attached()
{
	local k began

	began=$(date +%s%N)
	for ((k = $1; k <= $2; k++)); do
		dmsetup create "$NAME-sandbox$k" --table "0 2097152 qcow2 $base $SCRATCH_MNT/sandboxes/$k" ||
			fail "sandbox $k is not attached"
		cleanup remove_left "$NAME-sandbox$k"
	done
	ATTACH_MS=$((($(date +%s%N) - began) / 1000000 / ($2 - $1 + 1)))
}

# free_kib: memory that nobody uses, once udev and the caches have none any more.
free_kib()
{
	udevadm settle
	echo 3 >/proc/sys/vm/drop_caches
	awk '/^MemFree:/ { print $2 }' /proc/meminfo
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

sandbox_writes()
{
	head -c 4096 /dev/zero | tr '\0' "\\$(printf %o "$(own_byte "$1")")" |
		dd of="$(sandbox "$1")" bs=4096 count=1 seek="$(own_place "$1")" iflag=fullblock oflag=direct,seek_bytes \
			conv=notrunc,fsync status=none || fail "sandbox $1 cannot write"
}

# sandbox_reads K: the base's data on either side of its own, a cluster each.
sandbox_reads()
{
	local at own

	own=$(own_place "$1")
	for at in $((own - 20480)) $((own + 4096)); do
		dd if="$(sandbox "$1")" bs=20480 count=1 skip=$at iflag=direct,skip_bytes status=none |
			cmp -n 20480 -i 0:$at - "$NOISE" || fail "sandbox $1 reads something else at $at"
	done
}

# sandbox_is_right K: as QEMU finds it.
sandbox_is_right()
{
	local image=$SCRATCH_MNT/sandboxes/$1 own

	own=$(own_place "$1")
	check_image "$image"
	run cp "$NOISE" "$TMP/want"
	run truncate -s 1G "$TMP/want"
	run qemu-io -f raw -c "write -q -P $(own_byte "$1") $own 4096" "$TMP/want"
	same_as_mirror "$TMP/want" "$image"
}

# sandboxes_used COUNT KIB EACH: attach so many, with at most so much memory for each but the first; write to all and
# read from all; QEMU looks at each EACHth.
sandboxes_used()
{
	local count=$1 limit=$2 each=$3 k before kib

	sandboxes_attached 1 1
	echo "the first: attached in $ATTACH_MS ms"
	before=$(free_kib)
	sandboxes_attached 2 "$count"
	kib=$(((before - $(free_kib)) / (count - 1)))
	echo "$((count - 1)) more: attached in $ATTACH_MS ms each, with $kib KiB of memory each"
	[ $kib -le "$limit" ] || fail "$kib KiB of memory for each sandbox, $limit are allowed"
	for ((k = 1; k <= count; k++)); do
		sandbox_writes $k
	done
	for ((k = 1; k <= count; k++)); do
		sandbox_reads $k
	done
	for ((k = 1; k <= count; k++)); do
		run dmsetup remove --retry "$NAME-sandbox$k" 2>/dev/null
	done
	for ((k = 1; k <= count; k += each)); do
		sandbox_is_right $k
	done
	[ "$(sha256sum <"$base")" = "$base_sum" ] || fail 'the base has changed'
}
