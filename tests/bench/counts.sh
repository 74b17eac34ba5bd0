# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# What is counted and not timed, in a round of its own: bytes written below the image, and read there, for each byte that
# the guest writes, and fsync calls on the image for each flush of the guest. Sourced after tests/bench/rows.sh.

TRACING=/sys/kernel/tracing

# counts_of ROW WORKLOAD: print lines "NAME VALUE".
counts_of()
{
	local written read fsyncs blocks

	count_begin
	row_make "$1" fresh
	count_fsyncs_begin
	written=$(sectors_written)
	read=$(sectors_read)
	workload_run "$1" "$2" --to-the-end >"$TMP/ns" || fail "$1: $2"
	fsyncs=$(count_fsyncs_end)
	detach_left
	written=$(($(sectors_written) - written))
	read=$(($(sectors_read) - read))
	row_remove
	count_end
	blocks=$(blocks_of "$1" "$2")
	awk -v written="$written" -v blocks="$blocks" 'BEGIN { printf "bytes %.3f\n", written / 8 / blocks }'
	[[ $1 != *-chain* ]] || awk -v read="$read" -v blocks="$blocks" 'BEGIN { printf "read %.3f\n", read / 8 / blocks }'
	! has_fsyncs "$1" "$2" || awk -v fsyncs="$fsyncs" -v flushes=$((blocks / 16)) \
		'BEGIN { printf "fsyncs %.3f\n", fsyncs / flushes }'
}

# has_counts WORKLOAD: a target speaks of what is counted.
has_counts()
{
	[[ $1 == *-qd32 || $1 == *-seq-* ]]
}

# has_fsyncs ROW WORKLOAD: the guest flushes an image in a file, which is not flushed by the guest itself.
has_fsyncs()
{
	case $1/$2 in
	qcow2-xfs/*-flush-*|qcow2-ext4/*-flush-*|nbd-xfs/*-flush-*|vhost-qcow2-xfs/*-flush-*) ;;
	*) return 1 ;;
	esac
}

# The RAM disk keeps no statistics, a mapped device on it does.
count_begin()
{
	run dmsetup create lower --table "0 $((RAM_MIB * 2048)) linear /dev/ram0 0"
	LOWER=/dev/mapper/lower
}

count_end()
{
	run dmsetup remove --retry lower
	LOWER=/dev/ram0
}

sectors_written()
{
	lower_statistic 7
}

sectors_read()
{
	lower_statistic 3
}

lower_statistic()
{
	awk -v field="$1" '{ print $field }' \
		"/sys/dev/block/$(dmsetup info -c --noheadings -o major,minor --separator : lower)/stat"
}

# XFS makes as much durable when it is told of first writes.
count_fsyncs_begin()
{
	echo 'p:bench/fsync vfs_fsync_range' >"$TRACING/kprobe_events"
	[ ! -d /sys/module/xfs ] || echo 'p:bench/commit xfs:xfs_fs_commit_blocks' >>"$TRACING/kprobe_events"
	for_each_probe 'hist:keys=common_pid.execname'
}

# count_fsyncs_end: all but those by which the guest flushes.
count_fsyncs_end()
{
	awk '/common_pid:/ && !/io-cost/ { sum += $NF } END { print sum + 0 }' "$TRACING"/events/bench/*/hist
	for_each_probe '!hist:keys=common_pid.execname'
	echo >"$TRACING/kprobe_events"
}

for_each_probe()
{
	local trigger

	for trigger in "$TRACING"/events/bench/*/trigger; do
		echo "$1" >"$trigger"
	done
}

# memory_of: KiB that a detach gives back. The device is in use no more, and gone then; what else there is of the row
# is not.
memory_of()
{
	local attached

	attached=$(kernel_memory)
	detach_left
	# Pages go after a grace period.
	sleep 2
	echo $((attached - $(kernel_memory)))
}

# memory_of_others: attach overlays beside the first on its base, and print the KiB that each takes.
memory_of_others()
{
	local before

	before=$(kernel_memory)
	others_attach
	# Pages of what has ended go after a grace period.
	sleep 2
	echo $((($(kernel_memory) - before) / OTHERS))
}

# kernel_memory: in KiB, what the kernel has allocated for itself and not for the contents of files or RAM disks.
kernel_memory()
{
	awk '/^(Slab|VmallocUsed|Percpu):/ { sum += $2 } END { print sum }' /proc/meminfo
}
