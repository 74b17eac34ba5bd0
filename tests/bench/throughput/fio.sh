# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# Rounds of fio. A round does a workload on one row after the other, in one fio, as each start costs seconds where a
# guest is emulated twice. What it found goes to $VBLK_OUT/rounds, lines "TABLE/ROW WORKLOAD ROUND IOPS P50 P99"
# with latencies in microseconds. Round 0 is a heat: see heat.sh.

JOBS=1
RUNTIME=$BENCH_RUNTIME
declare -A file_of

# fio_here: run the job file on stdin, on this machine. fio_guest: in the guest "g".
fio_here()
{
	cat >"$TMP/job"
	fio --output-format=json "$TMP/job"
}

# Emulated twice, a guest now and then dies or stands still: it has twice the time that the rows take.
fio_guest()
{
	{
		echo "cat >/tmp/job <<'JOB'"
		cat
		echo JOB
		echo 'fio --output-format=json /tmp/job'
	} >"$TMP/script"
	guest_run g $((40 + 2 * RUNTIME * ${#file_of[@]})) <"$TMP/script"
}

# use_fio here|guest: where the rounds run, and which engine that kernel has.
use_fio()
{
	FIO=fio_$1
	ENGINE=io_uring
	"$FIO" <<-EOF >/dev/null || ENGINE=libaio
		[try]
		ioengine=io_uring
		filename=/tmp/try
		size=4k
		rw=write
	EOF
	echo "fio: $1: $ENGINE" >&2
}

# rw_of WORKLOAD: what fio calls it.
rw_of()
{
	case $1 in
	seq*) sed 's/^seq//; s/-qd.*//' <<<"$1" ;;
	alone-*|beside-*) echo randread ;;
	*) echo "${1%-qd*}" ;;
	esac
}

# fio_global WORKLOAD: what all rows have in common. Each job has a CPU of its own, and so a queue.
fio_global()
{
	local bytes=4k

	[[ $1 != seq* ]] || bytes=1m
	cat <<-EOF
		[global]
		ioengine=$ENGINE
		direct=1
		allow_file_create=0
		thread
		numjobs=$JOBS
		cpus_allowed=0-$((JOBS - 1))
		cpus_allowed_policy=split
		group_reporting
		time_based
		runtime=${RUNTIME}s
		size=${BENCH_MIB}m
		norandommap
		clat_percentiles=0
		lat_percentiles=1
		percentile_list=50:99
		rw=$(rw_of "$1")
		bs=$bytes
		iodepth=${1#*-qd}
	EOF
}

# fio_jobs WORKLOAD ROW...
fio_jobs()
{
	local row

	fio_global "$1"
	shift
	for row; do
		printf '[%s]\nfilename=%s\nstonewall\n' "$row" "${file_of[$row]}"
	done
}

# fio_read TABLE WORKLOAD ROUND: what is in fio's JSON.
fio_read()
{
	sed -n '/^{/,$p' | jq -r --arg table "$1" --arg workload "$2" --arg round "$3" '.jobs[] |
		(if .read.total_ios > 0 then .read else .write end) as $done |
		[$table + "/" + .jobname, $workload, $round, $done.iops,
			($done.lat_ns.percentile | .["50.000000"] / 1000, .["99.000000"] / 1000)] |
		map(tostring) | join(" ")'
}

# fio_keep TABLE WORKLOAD ROUND: the JSON in "$TMP/json" as lines, here and in the results.
fio_keep()
{
	fio_read "$@" <"$TMP/json" >"$TMP/lines" || fail "$1: $2: what fio said: $(head -c 500 "$TMP/json")"
	[ -s "$TMP/lines" ] || fail "$1: $2: fio did nothing"
	tee -a "$VBLK_OUT/rounds" <"$TMP/lines"
}

# pace_begin, pace_end: what is between them runs on many processors, where these are wanted: see pace-plugin.c.
pace_begin()
{
	[ -z "$BENCH_MIPS" ] || touch "$VBLK_OUT/pace"
}

pace_end()
{
	rm -f "$VBLK_OUT/pace"
}

# fio_round TABLE WORKLOAD ROUND ROW...
fio_round()
{
	local table=$1 workload=$2 round=$3
	shift 3

	[ $# != 0 ] || return 0
	if ! fio_try "$workload" "$@"; then
		if [ "$FIO" = fio_here ] || guest_well; then
			fail "$table: $workload: fio has failed: $(head -c 500 "$TMP/json")"
		fi
		guest_again
		fio_try "$workload" "$@" || fail "$table: $workload: the guest has died twice"
	fi
	fio_keep "$table" "$workload" "$round"
}

# fio_try WORKLOAD ROW...: its JSON to "$TMP/json".
fio_try()
{
	local status

	pace_begin
	fio_jobs "$@" | "$FIO" >"$TMP/json"
	status=$?
	pace_end
	return $status
}

# fio_rounds TABLE ROW...: A B C ..., A B C ...
fio_rounds()
{
	local table=$1 round workload
	shift

	for ((round = 1; round <= BENCH_ROUNDS; round++)); do
		for workload in $(workloads_of "$table"); do
			fio_round "$table" "$workload" $round "$@"
		done
	done
}
