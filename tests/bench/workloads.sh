# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# The workloads: 4 KiB I/Os in random places, at a depth. A write that allocates goes to a cluster of its own.

WORKLOADS=(
	randread-qd1 randread-qd32 overwrite-qd1 overwrite-qd32
	allocate-qd1 allocate-qd32 allocate-flush-qd1 allocate-flush-qd32
)
CLUSTER_BYTES=65536

# workload_options WORKLOAD: what io-cost is told.
workload_options()
{
	echo "--depth=${1##*-qd}"
	case $1 in
	overwrite-*) echo --write ;;
	allocate-*) echo "--write --spacing=$CLUSTER_BYTES" ;;
	esac
	case $1 in
	*-flush-*) echo --flush-every=16 ;;
	esac
}

# workload_run ROW WORKLOAD [OPTION...]: print what a round costs per I/O, one round a line.
workload_run()
{
	local row=$1 workload=$2
	shift 2

	if [[ $row == vhost-* ]]; then
		vhost_run "$workload"
	else
		# shellcheck disable=SC2046 # a list of words
		io-cost $(workload_options "$workload") $(row_options "$row") "$@" "$DEV"
	fi
}

# row_options ROW: a peer that is so slow does less.
row_options()
{
	[[ $1 != nbd-* ]] || echo --count=1024
}

# vhost_run WORKLOAD: the same by the virtio-blk driver in user space, through /dev/vhost-blk.
vhost_run()
{
	local round percent=0

	[[ $1 != overwrite-* ]] || percent=100
	for round in 0 1 2 3; do
		virtio-front --device="$DEV" --depth="${1##*-qd}" --max-bytes=4096 --operations=4096 \
			--span=$((BENCH_MIB << 20)) --write-percent=$percent --json bench >"$TMP/vhost" || return
		[ $round = 0 ] || sed -E 's/.*"ns_per_io": ([0-9.]+).*/\1/' "$TMP/vhost"
	done
}
