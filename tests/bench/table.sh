# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# Tables of what was measured. Records are lines "ROW WORKLOAD NS", one a round.

# summarize: records to lines "ROW WORKLOAD MEDIAN SPREAD%", in the order of their first.
summarize()
{
	awk '
	{ cell = $1 " " $2; if (!n[cell]++) order[++cells] = cell; ns[cell, n[cell]] = $3 }
	END {
		for (i = 1; i <= cells; i++) {
			cell = order[i]
			for (j = 2; j <= n[cell]; j++)
				for (k = j; k > 1 && ns[cell, k] < ns[cell, k - 1]; k--) {
					t = ns[cell, k]; ns[cell, k] = ns[cell, k - 1]; ns[cell, k - 1] = t
				}
			median = ns[cell, int((n[cell] + 1) / 2)]
			printf "%s %.1f %.2f\n", cell, median, 100 * (ns[cell, n[cell]] - ns[cell, 1]) / median
		}
	}'
}

# print_table: records to a table of medians, a row a line, each with its spread over the rounds.
print_table()
{
	summarize | awk '
	{ if (!($1 in seen)) { seen[$1] = 1; rows[++nr] = $1 }
	  if (!($2 in column)) { column[$2] = 1; columns[++nc] = $2 }
	  cell[$1, $2] = sprintf("%.0f ±%.2f%%", $3, $4) }
	END {
		printf "%-16s", "ns per I/O"
		for (c = 1; c <= nc; c++) printf "%20s", columns[c]
		print ""
		for (r = 1; r <= nr; r++) {
			printf "%-16s", rows[r]
			for (c = 1; c <= nc; c++) printf "%20s", ((rows[r], columns[c]) in cell) ? cell[rows[r], columns[c]] : "-"
			print ""
		}
	}'
}
