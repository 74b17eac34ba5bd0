# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# The workloads: 4 KiB I/Os in random places, at a depth. A write that allocates goes to a cluster of its own.
# One is no I/O: to attach the image; one is a single write, right after that.

WORKLOADS=(
	attach first-write randread-qd1 randread-qd32 overwrite-qd1 overwrite-qd32
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

	if [ "$workload" = attach ]; then
		attach-cost "$((SIZE_MIB * 2048))" "$IMAGE"
	elif [ "$workload" = first-write ]; then
		attach-cost "$((SIZE_MIB * 2048))" "$IMAGE" $(((SIZE_MIB - GROWN_MIB) << 20))
	elif [[ $row == vhost-* ]]; then
		vhost_run "$(queues_of "$row")" "$workload" "$@"
	else
		# shellcheck disable=SC2046 # a list of words
		io-cost $(workload_options "$workload") $(row_options "$row") "$@" "$DEV"
	fi
}

# row_options ROW: a peer that is so slow does less; of a large image the end is used.
row_options()
{
	case $1 in
	nbd-*) echo --count=1024 ;;
	*-1g|*-16t) echo --last=$((BENCH_MIB << 20)) ;;
	esac
}

# vhost_run QUEUES WORKLOAD [OPTION...]: the same by the virtio-blk driver in user space, through /dev/vhost-blk. To the
# end, it is one round, which counts.
vhost_run()
{
	local queues=$1 workload=$2 round rounds=3 first=1
	shift 2

	[[ " $* " != *' --to-the-end '* ]] || rounds=0 first=0
	for ((round = 0; round <= rounds; round++)); do
		# shellcheck disable=SC2046 # a list of words
		virtio-front --device="$DEV" --queues="$queues" --workers="$queues" --max-bytes=4096 --operations=4096 \
			--span=$((BENCH_MIB << 20)) $(workload_options "$workload" | sed 's/--write\>/--write-percent=100/') \
			"$@" --json bench >"$TMP/vhost" || return
		[ $round -lt $first ] || sed -E 's/.*"ns_per_io": ([0-9.]+).*/\1/' "$TMP/vhost"
	done
}
