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
	local workload=$2
	shift 2

	# shellcheck disable=SC2046 # a list of words
	io-cost $(workload_options "$workload") "$@" "$DEV"
}
