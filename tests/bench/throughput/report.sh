# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# What the rounds say. Rounds are lines "TABLE/ROW WORKLOAD ROUND IOPS P50 P99"; cells are lines "TABLE/ROW WORKLOAD
# ROUNDS IOPS SPREAD P50 P99" with medians, and in percent of the first what lies between the least and the most.

# add_best ROUNDS: these, and those of "best-virtio-PLACE" and "best-vhost-PLACE": for each workload the setting whose
# median is the highest, of those that went on after the heat.
add_best()
{
	awk '
	{ print }
	$1 !~ /^(guest[0-9]+|chains|ssd)\/(virtio|vhost)-/ { next }
	{
		split($1, part, "/")
		match(part[2], /(ram|ssd|qcow2-[a-z0-9-]*)$/)
		contest = part[1] "/best-" substr(part[2], 1, index(part[2], "-")) substr(part[2], RSTART) " " $2
		setting = contest " " $1
		if (!(setting in of)) {
			of[setting] = contest
			if (!(contest in last_round))
				contests[++nr_contests] = contest
			last_round[contest] += 0
		}
		if ($3 > last_round[contest])
			last_round[contest] = $3
		line[setting, $3] = $3 " " $4 " " $5 " " $6
		iops[setting, $3] = $4
		if ($3 > rounds[setting])
			rounds[setting] = $3 + 0
	}
	function median(setting, nr,    i, j, v, t) {
		if (!nr)
			return iops[setting, 0]
		for (i = 1; i <= nr; i++) {
			v[i] = iops[setting, i]
			for (j = i; j > 1 && v[j - 1] > v[j]; j--) {
				t = v[j]; v[j] = v[j - 1]; v[j - 1] = t
			}
		}
		return (v[int((nr + 1) / 2)] + v[int(nr / 2) + 1]) / 2
	}
	END {
		for (setting in of) {
			contest = of[setting]
			if (rounds[setting] + 0 != last_round[contest])
				continue
			m = median(setting, last_round[contest])
			if (m > best[contest]) {
				best[contest] = m
				winner[contest] = setting
			}
		}
		for (c = 1; c <= nr_contests; c++) {
			contest = contests[c]
			for (i = last_round[contest] ? 1 : 0; i <= last_round[contest]; i++)
				print contest, line[winner[contest], i]
		}
	}' "$1"
}

# by_cell VALUE-FIELD: rounds without the heats of what went on, lines "CELL WORKLOAD VALUE" sorted by cell in the
# order of their first, and in a cell by value.
by_cell()
{
	awk -v field="$1" '
	{ cell = $1 " " $2; if (!(cell in order)) order[cell] = ++cells; line[NR] = $0; cell_of[NR] = cell }
	$3 > 0 { counts[cell] = 1 }
	END {
		for (i = 1; i <= NR; i++) {
			split(line[i], f, " ")
			if (f[3] > 0 || !(cell_of[i] in counts))
				print order[cell_of[i]], cell_of[i], f[field]
		}
	}' | sort -k 1,1n -k 4,4g | cut -d ' ' -f 2-
}

# medians: lines "CELL WORKLOAD VALUE", sorted, to "CELL WORKLOAD COUNT MEDIAN SPREAD".
medians()
{
	awk '
	function finish() {
		median = (v[int((n + 1) / 2)] + v[int(n / 2) + 1]) / 2
		printf "%s %d %.4f %.1f\n", cell, n, median, median ? 100 * (v[n] - v[1]) / median : 0
	}
	$1 " " $2 != cell { if (n) finish(); cell = $1 " " $2; n = 0 }
	{ v[++n] = $3 }
	END { if (n) finish() }'
}

# summarize_rounds ROUNDS: cells.
summarize_rounds()
{
	paste -d ' ' <(by_cell 4 <"$1" | medians) <(by_cell 5 <"$1" | medians) <(by_cell 6 <"$1" | medians) |
		cut -d ' ' -f 1-5,9,14
}

# pairs CELLS: what each row is compared with, lines "CELL-A CELL-B"; a cell is TABLE/ROW/WORKLOAD.
pairs()
{
	awk '
	function beside_of(workload) {
		sub(/(backup|trim)-/, "alone-", workload)
		return workload
	}
	function against(table, row, workload,    place) {
		match(row, /(ram|ssd|bdev|xfs|ext4|qcow2-[a-z0-9-]*)$/)
		place = substr(row, RSTART)
		if (table ~ /^(guest|chains)/)
			return row ~ /^(vhost|qsd|best-vhost)-/ ? table "/best-virtio-" place "/" workload : ""
		if (table == "ssd")
			return row != "host" ? "ssd/host/" workload : ""
		if (table == "queues")
			return row ~ /-4q$/ ? table "/" substr(row, 1, length(row) - 2) "1q/" workload : ""
		if (table == "noisy")
			return workload == "beside-qd1" ? table "/" row "/alone-qd1" : ""
		if (table == "pause")
			return row != "qsd-snapshot" ? "pause/qsd-snapshot/pause" : ""
		if (table == "jobs" || table == "trims")
			return workload ~ /^(p99-)?(backup|trim)-/ ? table "/" row "/" beside_of(workload) : ""
		if (row == "ram")
			return ""
		if (row == "qcow2-bdev" && table == "host")
			return table "/linear/" workload
		if (row == "linear" || row == "qcow2-bdev")
			return table "/ram/" workload
		sub(/.*-/, "", place)
		return row ~ /^raw-/ ? table "/ram/" workload : table "/raw-" place "/" workload
	}
	{
		split($1, part, "/")
		to = against(part[1], part[2], $2)
		if (to != "")
			print $1 "/" $2, to
	}' "$1"
}

# ratios ROUNDS: for each pair on stdin the median over the rounds of A divided by B, lines "CELL-A CELL-B ROUNDS
# RATIO SPREAD".
ratios()
{
	awk '
	FILENAME == ARGV[1] { iops[$1 "/" $2, $3] = $4; if ($3 > last) last = $3; next }
	!/^#/ && NF >= 2 {
		for (i = 0; i <= last; i++)
			if ((($1, i) in iops) && (($2, i) in iops) && iops[$2, i] > 0)
				print $1, $2, i, iops[$1, i] / iops[$2, i]
	}' "$1" - | by_cell 4 | medians
}

# judge_targets ROUNDS: the lines of the targets file with ">=" of which both sides were measured, as lines
# "CELL AGAINST RATIO LIMIT ok|missed".
judge_targets()
{
	local wishes=$VBLK_TOP/tests/bench/targets

	awk '!/^#/ && $3 ~ /^>=/' "$wishes" | ratios "$1" | awk '
	FILENAME == ARGV[1] { limit[$1 " " $2] = substr($3, 3); next }
	{
		least = limit[$1 " " $2]
		printf "%s %s %.3f >=%s %s\n", $1, $2, $4, least, ($4 >= least + 0) ? "ok" : "missed"
	}' "$wishes" -
}
