# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# The workloads: 4 KiB I/Os in random places, at a depth. A write that allocates goes to a cluster of its own. "seq" is
# one after the other, and "1m" a MiB.
# One is no I/O: to attach the image; one is a single write, right after that. Of the last two an I/O is a group of ext4,
# 128 MiB, or 2 GiB, as mke2fs has them: all of a large disk is discarded or zeroed, and that ends when it is detached.

WORKLOADS=(
	attach first-write randread-qd1 randread-qd32 seqread-qd1 seqread-1m-qd1 overwrite-qd1 overwrite-qd32
	allocate-qd1 allocate-qd32 allocate-flush-qd1 allocate-flush-qd32
	allocate-seq-qd1 allocate-flush32-qd1 allocate-flush32-qd32 discard-qd1 zero-qd1 copy merge
)
CLUSTER_BYTES=65536

# unmap_bytes WORKLOAD: of an I/O
unmap_bytes()
{
	case $1 in
	discard-*) echo $((128 << 20)) ;;
	zero-*) echo $((2 << 30)) ;;
	esac
}

# workload_options WORKLOAD: what io-cost is told.
workload_options()
{
	echo "--depth=${1##*-qd}"
	case $1 in
	overwrite-*) echo --write ;;
	discard-*) echo --unmap=discard --in-order "--block=$(unmap_bytes "$1")" ;;
	zero-*) echo --unmap=zero --in-order "--block=$(unmap_bytes "$1")" ;;
	seqread-1m-*) echo --in-order --block=1048576 ;;
	seqread-*) echo --in-order ;;
	allocate-seq-*) echo --write --in-order ;;
	allocate-*) echo "--write --spacing=$CLUSTER_BYTES" ;;
	esac
	case $1 in
	*-flush-*) echo --flush-every=16 ;;
	*-flush32-*) echo --flush-every=32 ;;
	esac
}

# workload_run ROW WORKLOAD [OPTION...]: print what a round costs per I/O, one round a line.
workload_run()
{
	local row=$1 workload=$2
	shift 2

	if [ "$workload" = attach ]; then
		attach-cost "$((SIZE_MIB * 2048))" "${BELOW[*]:+${BELOW[*]} }$IMAGE"
	elif [ "$workload" = first-write ]; then
		attach-cost "$((SIZE_MIB * 2048))" "$IMAGE" $(((SIZE_MIB - GROWN_MIB) << 20))
	elif [[ $row == vhost-* || $row == qsd-* ]]; then
		vhost_run "$(queues_of "$row")" "$workload" "$@"
	else
		# shellcheck disable=SC2046 # a list of words
		io-cost $(workload_options "$workload") $(row_options "$row" "$workload") "$@" "$DEV"
	fi
}

# row_options ROW WORKLOAD: a peer that is so slow does less, and so does what takes space beside a full base, or is
# large; as much as ours where a detach is counted with few clusters. Of a large image the end is used.
row_options()
{
	case $1/$2 in
	*/seqread-1m-*) echo --count=16 ;;
	*/copy) echo --count=$((BENCH_MIB * 64)) ;;
	*/discard-*|*/zero-*) echo --count=$((SIZE_MIB * 1048576 / $(unmap_bytes "$2"))) ;;
	*/allocate-seq-*) ;;
	nbd-*|*-chain*/allocate-flush32-*) echo --count=1024 ;;
	*-1g/*|*-16t/*) echo --last=$((BENCH_MIB << 20)) ;;
	esac
}

# blocks_of ROW WORKLOAD: I/Os in a round.
blocks_of()
{
	local options

	options=$(row_options "$1" "$2")
	[[ $options =~ --count=([0-9]+) ]] && echo "${BASH_REMATCH[1]}" || echo 4096
}

# vhost_options: what io-cost is told, for virtio-front.
vhost_options()
{
	sed 's/--write\>/--write-percent=100/; s/--unmap=discard --in-order --block=/--trim=/'
}

# vhost_run QUEUES WORKLOAD [OPTION...]: the same by the virtio-blk driver in user space, through /dev/vhost-blk, or to a
# socket. To the end, it is one round, which counts.
vhost_run()
{
	local queues=$1 workload=$2 round rounds=3 first=1 device=--device=$DEV
	shift 2

	[ -b "$DEV" ] || device=--socket=$DEV
	[[ " $* " != *' --to-the-end '* ]] || rounds=0 first=0
	for ((round = 0; round <= rounds; round++)); do
		# shellcheck disable=SC2046 # a list of words
		virtio-front "$device" --queues="$queues" --workers="$queues" --max-bytes=4096 --operations=4096 \
			--span=$((BENCH_MIB << 20)) $(workload_options "$workload" | vhost_options) \
			"$@" --json bench >"$TMP/vhost" || return
		[ $round -lt $first ] || sed -E 's/.*"ns_per_io": ([0-9.]+).*/\1/' "$TMP/vhost"
	done
}
