# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# Tables of what was measured. Rounds are lines "ROW WORKLOAD NS", cells are lines "ROW WORKLOAD NS SPREAD" with the
# median and, in percent of it, what lies between the least and the most; counts are "ROW WORKLOAD NAME VALUE".

# summarize: rounds to cells, in the order of their first.
summarize()
{
	awk '{ cell = $1 " " $2; if (!(cell in order)) order[cell] = ++cells; print order[cell], $0 }' |
		sort -k 1,1n -k 4,4n | awk '
	function finish() {
		median = ns[int((n + 1) / 2)]
		printf "%s %.1f %.2f\n", cell, median, 100 * (ns[n] - ns[1]) / median
	}
	$2 " " $3 != cell { if (n) finish(); cell = $2 " " $3; n = 0 }
	{ ns[++n] = $4 }
	END { if (n) finish() }'
}

# print_cells CELLS: a table of what moves data, and one of what allocates.
print_cells()
{
	awk '$2 !~ /^allocate/' "$1" | print_block
	awk '$2 ~ /^allocate/' "$1" | print_block
}

# print_block: cells to a table. Each workload of a row is a column, with its spread.
print_block()
{
	awk -v workloads="${WORKLOADS[*]}" '
	{
		if (!seen[$1]++)
			rows[++nr_rows] = $1
		has[$2] = 1
		cell[$1, $2] = sprintf("%.0f (%.2f%%)", $3, $4)
	}
	function line(row,    i, text) {
		printf "%-27s", row
		for (i = 1; i <= nr; i++) {
			text = row == title ? name[i] : (row, name[i]) in cell ? cell[row, name[i]] : "-"
			if (name[i] in has)
				printf " %19s", text
		}
		print ""
	}
	END {
		if (!nr_rows)
			exit
		title = "ns per I/O"
		nr = split(workloads, name, " ")
		print ""
		line(title)
		for (i = 1; i <= nr_rows; i++)
			line(rows[i])
	}'
}

# print_counts: counts to a table.
print_counts()
{
	awk '
	NR == 1 { print "\ncounted" }
	BEGIN {
		what["bytes"] = "bytes written below per byte"
		what["read"] = "bytes read below per byte"
		what["fsyncs"] = "fsyncs of the image per flush"
		what["memory"] = "KiB that an attached image takes"
		what["exits"] = "VM exits"
		what["kicks"] = "of them kicks of the queue"
		what["disturbed"] = "of them for interrupts to come in"
		what["wakeups"] = "wake-ups"
		what["switches"] = "switches between tasks"
		what["syscalls"] = "system calls of QEMU"
		what["interrupts"] = "interrupts of the disk"
	}
	{ printf "%-27s %-21s %10.3f  %s\n", $1, $2, $4, what[$3] }'
}

# compare CELLS COUNTS: the targets of which both sides were measured, as lines "CELL AGAINST RATIO LIMIT ok|missed".
compare()
{
	awk '
	FILENAME == ARGV[1] { value[$1 "/" $2] = $3; next }
	FILENAME == ARGV[2] { value[$1 "/" $2 "/" $3] = $4; next }
	/^#/ || !NF || $3 ~ /^>=/ { next }
	!($1 in value) || $2 != "-" && !($2 in value) { next }
	{
		ratio = value[$1] / ($2 == "-" ? 1 : value[$2])
		printf "%s %s %.3f %s %s\n", $1, $2, ratio, $3, ratio <= $3 ? "ok" : "missed"
	}' "$1" "$2" "$VBLK_TOP/tests/bench/targets"
}

print_targets()
{
	awk '
	NR == 1 { printf "\n%-40s %-40s %7s %7s\n", "target", "against", "ratio", "limit" }
	{ printf "%-40s %-40s %7.3f %7s  %s\n", $1, $2, $3, $4, $5 }'
}

# print_json CELLS COUNTS TARGETS: all of it for programs.
print_json()
{
	jq -n --arg kernel "$KVER" --rawfile cells "$1" --rawfile counts "$2" --rawfile targets "$3" '
	def lines: split("\n") | map(select(. != "") | split(" "));
	{
		kernel: $kernel,
		cost: [$cells | lines[] | {row: .[0], workload: .[1], ns: .[2] | tonumber,
			spread_percent: .[3] | tonumber}],
		counts: [$counts | lines[] | {row: .[0], workload: .[1], name: .[2], value: .[3] | tonumber}],
		targets: [$targets | lines[] | {cell: .[0], against: .[1], ratio: .[2] | tonumber,
			limit: .[3] | tonumber, ok: (.[4] == "ok")}]
	}'
}
