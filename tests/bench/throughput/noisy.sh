# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# Whether a queue has to wait for another one of the same disk: latencies of reads one at a time on one virtual CPU,
# alone, and beside a job on the other one that keeps 32 in flight. Sourced after guest.sh.

measure_noisy()
{
	local rows round

	mapfile -t rows < <(selected noisy)
	[ ${#rows[@]} != 0 ] || return 0
	guest_begin 2 "${rows[@]}"
	JOBS=1
	for ((round = 1; round <= BENCH_ROUNDS; round++)); do
		fio_round noisy alone-qd1 $round "${rows[@]}"
		noisy_round $round "${rows[@]}"
	done
	guest_finish
}

# noisy_jobs ROW...: pairs of jobs; the second one of each is not reported.
noisy_jobs()
{
	local row

	fio_global beside-qd1
	for row; do
		cat <<-EOF
			[$row]
			filename=${file_of[$row]}
			stonewall
			[noise]
			filename=${file_of[$row]}
			new_group
			cpus_allowed=1
			iodepth=32
		EOF
	done
}

# noisy_round ROUND ROW...
noisy_round()
{
	local round=$1
	shift

	pace_begin
	noisy_jobs "$@" | fio_guest >"$TMP/all" || fail "noisy: fio has failed: $(head -c 500 "$TMP/all")"
	pace_end
	sed -n '/^{/,/^}/p' "$TMP/all" | jq 'del(.jobs[] | select(.jobname == "noise"))' >"$TMP/json" || fail 'noisy: no JSON'
	fio_keep noisy beside-qd1 "$round"
}
