# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# Tables for people. Needs tables.sh; see report.sh for cells and ratios.

declare -A title_of=(
	[guest1]='guest with 1 virtual CPU; x: times the best setting of QEMU on the same'
	[guest2]='guest with 2 virtual CPUs = queues; x: times the best setting of QEMU on the same'
	[guest4]='guest with 4 virtual CPUs = queues; x: times the best setting of QEMU on the same'
	[chains]='guest with 4 virtual CPUs = queues on an overlay; x: times the best setting of QEMU on the same'
	[host]='host; x: times the raw file, for linear and raw files the RAM disk, for qcow2-bdev linear'
	[sequential]='host, 1 MiB each; x: times the raw file, for qcow2-bdev the RAM disk'
	[queues]='vhost_blk, driven from user space: one queue, and four with a worker each; x: times one'
	[noisy]='guest, reads one at a time: alone, and beside a queue with 32'
	[jobs]='overwrites from user space, alone and while a full backup runs; x: times alone'
	[trims]='overwrites from user space, alone and while another queue discards; x: times alone'
	[ssd]='device limited to 1.2 times what QEMU can do; x: times the host'
)

# print_table TABLE CELLS RATIOS: I/Os per second. What was measured in a heat only has no spread.
print_table()
{
	grep -q "^$1/" "$2" || return 0
	printf '\n%s: I/Os per second, spread of the rounds, ratio\n' "${title_of[$1]}"
	awk -v table="$1/" -v workloads="$(workloads_of "$1")" '
	FILENAME == ARGV[1] { ratio[$1] = sprintf("%.2fx", $4); next }
	index($1, table) != 1 { next }
	{
		row = substr($1, length(table) + 1)
		if (!seen[row]++)
			rows[++nr_rows] = row
		key = $1 "/" $2
		spread = $3 > 1 ? sprintf("%.0f%%", $5) : "-"
		cell[row, $2] = sprintf("%8.0f %5s %6s", $4, spread, ratio[key])
	}
	END {
		nr = split(workloads, name, " ")
		printf "%-32s", ""
		for (i = 1; i <= nr; i++)
			printf "  %21s", name[i]
		print ""
		for (r = 1; r <= nr_rows; r++) {
			printf "%-32s", rows[r]
			for (i = 1; i <= nr; i++)
				printf "  %21s", ((rows[r], name[i]) in cell) ? cell[rows[r], name[i]] : "-"
			print ""
		}
	}' "$3" "$2"
}

# print_latencies TABLE CELLS: where one I/O is in flight.
print_latencies()
{
	grep -q "^$1/[^ ]* [^ ]*-qd1 " "$2" || return 0
	printf '\n%s: microseconds, median and 99th percentile\n' "${title_of[$1]%%; x*}"
	awk -v table="$1/" -v workloads="$(workloads_of "$1")" '
	index($1, table) != 1 || $2 !~ /-qd1$/ || $1 ~ /\/best-/ { next }
	{
		row = substr($1, length(table) + 1)
		if (!seen[row]++)
			rows[++nr_rows] = row
		cell[row, $2] = sprintf("%9.1f %9.1f", $6, $7)
	}
	END {
		nr = split(workloads, name, " ")
		printf "%-32s", ""
		for (i = 1; i <= nr; i++)
			if (name[i] ~ /-qd1$/)
				printf "  %19s", name[i]
		print ""
		for (r = 1; r <= nr_rows; r++) {
			printf "%-32s", rows[r]
			for (i = 1; i <= nr; i++)
				if (name[i] ~ /-qd1$/)
					printf "  %19s", ((rows[r], name[i]) in cell) ? cell[rows[r], name[i]] : "-"
			print ""
		}
	}' "$2"
}

# print_workers CELLS: the RAM disk by virtual CPUs and workers, each row one of the guests' tables.
print_workers()
{
	grep -q '^guest[0-9]*/vhost-[w0-9-]*ram ' "$1" || return 0
	printf '\nRAM disk by virtual CPUs and workers: I/Os per second\n'
	awk -v workloads='randread-qd32 randwrite-qd32' '
	$1 !~ /^guest[0-9]+\/(best-virtio|vhost|vhost-w[0-9]+)-ram$/ { next }
	{
		vcpus = $1; sub(/^guest/, "", vcpus); sub(/\/.*/, "", vcpus)
		workers = $1 ~ /virtio/ ? "QEMU" : vcpus
		if (match($1, /-w[0-9]+-/))
			workers = substr($1, RSTART + 2, RLENGTH - 3)
		key = vcpus " " workers
		if (!(key in seen)) {
			seen[key] = 1
			keys[++n] = key
		}
		iops[key, $2] = $4
	}
	END {
		printf "%-6s %-8s %14s %14s\n", "vCPUs", "workers", "randread", "randwrite"
		for (i = 1; i <= n; i++) {
			split(keys[i], f, " ")
			printf "%-6s %-8s %14.0f %14.0f\n", f[1], f[2], iops[keys[i], "randread-qd32"], iops[keys[i], "randwrite-qd32"]
		}
	}' "$1" | { read -r head; echo "$head"; sort -k 1,1n -k 2,2; }
}

# print_events COUNTS: a line for each row and workload.
print_events()
{
	grep -q '^events/' "$1" || return 0
	printf '\nper I/O of a guest with 1 virtual CPU, randread\n'
	awk '
	BEGIN { nr = split("exits kicks disturbed interrupts wakeups switches syscalls", name, " ") }
	$1 !~ /^events\// { next }
	{
		key = substr($1, 8) " " $2
		if (!seen[key]++)
			keys[++n] = key
		value[key, $3] = $4
	}
	END {
		printf "%-40s", ""
		for (i = 1; i <= nr; i++)
			printf " %10s", name[i]
		print ""
		for (k = 1; k <= n; k++) {
			split(keys[k], f, " ")
			printf "%-24s %-15s", f[1], f[2]
			for (i = 1; i <= nr; i++)
				printf " %10.3f", value[keys[k], name[i]]
			print ""
		}
	}' "$1"
}

# print_queues CELLS RATIOS: what an I/O costs.
print_queues()
{
	grep -q '^queues/' "$1" || return 0
	printf '\nnanoseconds of CPU time an I/O, driver and workers; x: times one queue\n'
	awk '
	FILENAME == ARGV[1] { times[$1] = 1 / $4; next }
	$1 !~ /^queues\// || $2 !~ /^cpu-/ { next }
	{
		printf "%-24s %-15s %10.0f", substr($1, 8), substr($2, 5), 1e9 / $4
		if (($1 "/" $2) in times)
			printf "  %.2fx", times[$1 "/" $2]
		print ""
	}' "$2" "$1"
}

# print_beside TABLE CELLS RATIOS: latencies of what is done beside a job.
print_beside()
{
	grep -q "^$1/" "$2" || return 0
	printf '\n%s: microseconds, median and 99th percentile, times alone\n' "${title_of[$1]%%; x*}"
	awk -v table="$1/" '
	FILENAME == ARGV[1] { times[$1] = sprintf("%.2fx", 1 / $4); next }
	index($1, table) == 1 && $2 ~ /^(alone|backup|trim)-/ {
		printf "%-24s %-15s %9.1f %9.1f %6s\n", substr($1, length(table) + 1), $2, $6, $7, times[$1 "/p99-" $2]
	}' "$3" "$2"
}

# print_pauses CELLS RATIOS
print_pauses()
{
	grep -q '^pause/' "$1" || return 0
	printf '\nthe longest write meanwhile, of 50: microseconds, median and 99th percentile; x: times a snapshot of QEMU\n'
	awk '
	FILENAME == ARGV[1] { times[$1] = sprintf("%.2fx", 1 / $4); next }
	/^pause\// { printf "%-24s %9.0f %9.0f %6s\n", substr($1, 7), $6, $7, times[$1 "/pause"] }' "$2" "$1"
}

print_idle()
{
	grep -q '^idle/' "$1" || return 0
	printf '\nidle guest: microseconds of CPU time a second\n'
	awk '/^idle\// { printf "%-32s %10.1f\n", substr($1, 6), $4 }' "$1"
}

# print_all CELLS RATIOS COUNTS
print_all()
{
	local table

	for table in host sequential guest1 guest2 guest4 chains queues noisy ssd; do
		print_table "$table" "$1" "$2"
		print_latencies "$table" "$1"
	done
	for table in jobs trims; do
		print_table "$table" "$1" "$2"
		print_beside "$table" "$1" "$2"
	done
	print_pauses "$1" "$2"
	print_workers "$1"
	print_queues "$1" "$2"
	print_events "$3"
	print_idle "$3"
	awk '$1 == "ssd/device" { printf "\nthe limited device: %s: %s\n", $3, $4 }' "$3"
}

# print_wishes: the targets that were judged.
print_wishes()
{
	awk '
	NR == 1 { printf "\n%-46s %-46s %6s %7s\n", "target", "against", "ratio", "limit" }
	{ printf "%-46s %-46s %6.2f %7s  %s\n", $1, $2, $3, $4, $5 }'
}

# print_pace: whether the machine was fast enough to emulate the slow processors.
print_pace()
{
	awk '{ printf "\nprocessors: busy for %.1f seconds in all, %.1f %% of it late\n", $1, 100 * $2 / $1 }'
}
