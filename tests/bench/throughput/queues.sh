# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# What queues cost each other: vhost_blk with one queue, and with four that have a worker each, driven from user space by
# a thread for each. It takes eight processors to tell. A row is vhost-PLACE-1q or -4q. Beside I/Os per second there are
# those per second of CPU time, of driver and workers, as a workload "cpu-...". Sourced after host.sh.

measure_queues()
{
	local rows row round workload

	mapfile -t rows < <(selected queues)
	[ ${#rows[@]} != 0 ] || return 0
	disks_begin
	cleanup host_drop
	for row in "${rows[@]}"; do
		row=${row%-?q}
		[ -n "${detach_of[$row]+made}" ] || host_add "$row"
	done
	for ((round = 1; round <= BENCH_ROUNDS; round++)); do
		for workload in $(workloads_of queues); do
			for row in "${rows[@]}"; do
				queues_run "$row" "$workload" $round
			done
		done
	done
	host_end
}

# queues_run ROW WORKLOAD ROUND
queues_run()
{
	local row=$1 workload=$2 percent=0 queues=${1##*-}

	[[ $workload != randwrite-* ]] || percent=100
	queues=${queues%q}
	pace_begin
	virtio-front --device="${file_of[${row%-?q}]}" --queues="$queues" --workers="$queues" --depth="${workload##*-qd}" \
		--max-bytes=4096 --span=$((BENCH_MIB << 20)) --write-percent=$percent --seconds="$RUNTIME" --json bench >"$TMP/json" ||
		fail "$row: $workload: virtio-front has failed"
	pace_end
	jq -r --arg row "queues/$row" --arg workload "$workload" --arg round "$3" '
		"\($row) \($workload) \($round) \(.iops) \(.p50_ns / 1000) \(.p99_ns / 1000)",
		"\($row) cpu-\($workload) \($round) \(1e9 / .cpu_ns_per_io) 0 0"' "$TMP/json" | tee -a "$VBLK_OUT/rounds"
}
