# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# Overwrites alone, and while another queue discards, 128 MiB at a time, all of a large disk but the part that is written to.
# Sourced after live.sh.

TRIM_GIB=32

measure_trims()
{
	local rows row round

	mapfile -t rows < <(selected trims)
	[ ${#rows[@]} != 0 ] || return 0
	live_begin
	for ((round = 1; round <= BENCH_ROUNDS; round++)); do
		for row in "${rows[@]}"; do
			trims_round "$row" $round
		done
	done
	live_end
}

# mapped_disk ROW: every cluster has one of the host, but only those that are written to have data.
mapped_disk()
{
	choose_image qcow2-xfs "$1"
	run rm -f "$IMAGE"
	run qemu-img create -q -f qcow2 -o preallocation=metadata "$IMAGE" ${TRIM_GIB}G
	run vblk-attach --no-vhost "$IMAGE" fill >&2
	run dd if=/dev/zero of=/dev/mapper/fill bs=1M count="$BENCH_MIB" oflag=direct conv=notrunc,fsync status=none
	run vblk-detach fill
}

# trims_round ROW ROUND
trims_round()
{
	local row=$1 round=$2

	mapped_disk "$row"
	live_serve "$row"
	pace_begin
	drive "$row" --depth=32 --seconds="$RUNTIME"
	drive_keep trims "$row" alone-qd32 "$round"
	drive "$row" --depth=32 --queues=2 --trim=$((128 << 20)) --trim-from=$((BENCH_MIB << 20))
	pace_end
	drive_keep trims "$row" trim-qd32 "$round"
	live_remove "$row"
}
