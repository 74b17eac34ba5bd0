# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# Which tables there are, and the rows of each. Rows that are compared stand beside each other: a round measures
# them in this order.
#
#     host        what tests/bench/rows.sh makes
#     sequential  the same, large I/Os
#     guestN      in a nested guest with N virtual CPUs = queues; a row is BACK-END[-SETTING]...-PLACE:
#                 virtio  QEMU's virtio-blk with an iothread; aio=native or uring (io_uring)
#                 qsd     qemu-storage-daemon, vhost-user-blk
#                 vhost   vhost_blk with a worker for each queue, w1, w2: so many for all; batch: they have the
#                         policy SCHED_BATCH
#                 of both nopoll: they do not poll; poll: for POLL_US, see backend.sh
#                 PLACE   ram  a RAM disk;  qcow2-bdev, qcow2-xfs  a qcow2 image on one, in a file on one;
#                         qcow2-xfs-chain8  an overlay without data over eight images, which such rows share
#     chains      the same with four virtual CPUs: reads of what is in the lowest image
#     queues      vhost_blk with one queue, and with four
#     noisy       a queue with one I/O in flight, beside one with 32
#     events      what happens for one I/O of a guest
#     idle        what a disk costs that nobody uses
#     jobs        overwrites while a full backup runs; a row is vhost-... or qsd-...
#     trims       overwrites while another queue discards
#     pause       the longest write while a snapshot is made, a disk is frozen, gets larger
#     ssd         a device that is limited in latency and I/Os per second

TABLES=(guest1 guest2 guest4 chains host sequential ssd queues events idle noisy jobs trims pause)

# guest_rows VCPUS PLACE...
guest_rows()
{
	local place vcpus=$1
	shift

	for place; do
		echo "virtio-native-$place" "vhost-$place"
		echo "virtio-native-nopoll-$place" "vhost-nopoll-$place" "virtio-native-poll-$place" "vhost-poll-$place"
		echo "virtio-uring-$place" "vhost-batch-$place"
		[ "$vcpus" = 1 ] || echo "vhost-w1-$place" "vhost-w1-poll-$place"
		echo "virtio-uring-nopoll-$place"
		[ "$vcpus/$place" != 4/ram ] || echo "vhost-w2-$place"
		[ "$place" = ram ] || echo "qsd-$place"
	done
}

# rows_of TABLE
rows_of()
{
	case $1 in
	host) echo ram linear qcow2-bdev raw-xfs loop-xfs qcow2-xfs nbd-xfs raw-ext4 loop-ext4 qcow2-ext4 ;;
	sequential) echo ram qcow2-bdev raw-xfs qcow2-xfs raw-ext4 qcow2-ext4 ;;
	guest*) guest_rows "${1#guest}" ram qcow2-xfs qcow2-bdev ;;
	chains) guest_rows 4 qcow2-xfs-chain8 ;;
	queues) echo vhost-{ram,qcow2-bdev,qcow2-xfs}-{1q,4q} ;;
	noisy) echo virtio-native-{ram,qcow2-xfs} vhost-{ram,qcow2-xfs} ;;
	events) echo {virtio-native,vhost}-{,poll-}{ram,qcow2-xfs} ;;
	jobs|trims) echo {vhost,qsd}-qcow2-xfs ;;
	pause) echo vhost-snapshot vhost-freeze vhost-resize qsd-snapshot ;;
	idle) echo virtio-native-ram vhost-ram vhost-poll-ram vhost-qcow2-xfs ;;
	ssd) echo host virtio-native-ssd vhost-ssd virtio-native-nopoll-ssd vhost-poll-ssd virtio-uring-ssd ;;
	esac
}

# workloads_of TABLE: each is a kind of I/O, and how many are in flight in each queue.
workloads_of()
{
	case $1 in
	host|queues) echo randread-qd1 randwrite-qd1 randread-qd32 randwrite-qd32 ;;
	guest1) echo randread-qd1 randread-qd32 randwrite-qd32 ;;
	sequential) echo seqread-qd4 seqwrite-qd4 ;;
	events) echo randread-qd1 randread-qd32 ;;
	chains) echo randread-qd32 ;;
	noisy) echo alone-qd1 beside-qd1 ;;
	jobs) echo alone-qd32 backup-qd32 ;;
	trims) echo alone-qd32 trim-qd32 ;;
	idle|pause) ;;
	*) echo randread-qd32 randwrite-qd32 ;;
	esac
}

# select_rows [GLOB...]: print TABLE/ROW of those whose table, or TABLE/ROW, matches one.
select_rows()
{
	local table row glob

	[ $# != 0 ] || set -- '*'
	for table in "${TABLES[@]}"; do
		for row in $(rows_of "$table"); do
			for glob; do
				# shellcheck disable=SC2053 # it is a glob
				if [[ $table == $glob || $table/$row == $glob ]]; then
					echo "$table/$row"
					break
				fi
			done
		done
	done
}

# selected TABLE: the rows of it that are to be measured.
selected()
{
	sed -n "s#^$1/##p" "$VBLK_OUT/todo"
}
