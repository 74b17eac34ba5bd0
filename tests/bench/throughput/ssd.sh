# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# A device as slow as one that people have: limited in latency and in I/Os per second, to 1.2 times what QEMU's best
# setting does here. So QEMU cannot reach what the host has, and a back-end that costs less can. null_blk does both:
# a timer for each I/O, and a budget of bytes for each 20 ms, from which the I/Os a second follow. As with an SSD, SSD_BUSY
# I/Os in flight are enough to use it up, fewer than the workloads have. To begin with the rows stand on a device without
# limits, which says what QEMU can do. Sourced after guest.sh.

SSD_BUSY=8
SSD_HEADROOM=1.2
SSD_SECTORS=2097152
NULLB=/sys/kernel/config/nullb

measure_ssd()
{
	local rows row guests

	[ -n "$(selected ssd)" ] || return 0
	# All of them: the device is made for QEMU's best.
	mapfile -t rows < <(rows_of ssd | tr ' ' '\n')
	mapfile -t guests < <(printf '%s\n' "${rows[@]}" | grep -v -x host)
	run modprobe null_blk nr_devices=0
	mountpoint -q /sys/kernel/config || run mount -t configfs configfs /sys/kernel/config
	cleanup ssd_drop
	backends_begin
	null_device nullb-fast irqmode=0
	for row in "${rows[@]}"; do
		ssd_add "$row" nullb-fast
	done
	guest_boot 1 "${guests[@]}"
	ssd_limit "${rows[@]}"
	ssd_rounds "${rows[@]}"
	guest_finish
	ssd_drop
}

# null_device NAME ATTRIBUTE=VALUE...: the device and its directory in configfs have that name.
null_device()
{
	local dir=$NULLB/$1 setting
	shift

	mkdir "$dir" || fail "no null_blk device"
	for setting in size=$((SSD_SECTORS / 2048)) submit_queues=1 queue_mode=2 blocksize=512 "$@" power=1; do
		echo "${setting#*=}" >"$dir/${setting%%=*}" || fail "null_blk: $setting"
	done
}

# ssd_table NAME: a table on that device. Every row is such a step away from it, so that the device can be changed.
ssd_table()
{
	echo "0 $SSD_SECTORS linear /dev/$1 0"
}

# ssd_add ROW NULL-DEVICE
ssd_add()
{
	run dmsetup create "ssd-$1" --table "$(ssd_table "$2")"
	IMAGE=/dev/$(dmsetup info -c --noheadings -o blkdevname "ssd-$1")
	# shellcheck disable=SC2004 # the index is a name
	file_of[$1]=$IMAGE
	[ "$1" = host ] || backend_serve "$1" 1
}

# ssd_drop: nothing of it is left.
ssd_drop()
{
	local name

	for name in /dev/mapper/ssd-*; do
		[ ! -b "$name" ] || dmsetup remove --retry "$name"
	done
	for name in "$NULLB"/nullb-*; do
		[ ! -d "$name" ] || { echo 0 >"$name/power"; rmdir "$name"; }
	done
}

# ssd_limit ROW...: see what QEMU can do, make the device that has a little more, and put the rows on it.
ssd_limit()
{
	local rows virtio workload row best rate

	rows=("$@")
	mapfile -t virtio < <(printf '%s\n' "${rows[@]}" | grep '^virtio-')
	for workload in $(workloads_of ssd); do
		fio_round ssd "$workload" 0 "${virtio[@]}"
	done
	best=$(awk '/^ssd\// && $3 == 0 && $4 > best { best = $4 } END { print best }' "$VBLK_OUT/rounds")
	rate=$(awk -v best="$best" -v headroom=$SSD_HEADROOM 'BEGIN { printf "%d", best * headroom }')
	null_device nullb-limited irqmode=2 hw_queue_depth=128 completion_nsec=$((1000000000 * SSD_BUSY / rate)) \
		mbps=$(((rate + 128) / 256))
	{
		echo "ssd/device - latency_us $(awk '{ print $1 / 1000 }' "$NULLB/nullb-limited/completion_nsec")"
		echo "ssd/device - ios_per_second $((256 * $(cat "$NULLB/nullb-limited/mbps")))"
	} | tee -a "$VBLK_OUT/counts"
	for row in "${rows[@]}"; do
		run dmsetup load "ssd-$row" --table "$(ssd_table nullb-limited)"
		run dmsetup resume "ssd-$row"
	done
}

# ssd_rounds ROW...: the host's row and the guest's are two runs of fio.
ssd_rounds()
{
	local round workload

	for ((round = 1; round <= BENCH_ROUNDS; round++)); do
		for workload in $(workloads_of ssd); do
			[[ " $* " != *' host '* ]] || FIO=fio_here fio_round ssd "$workload" $round host
			fio_round ssd "$workload" $round "${guests[@]}"
		done
	done
}
