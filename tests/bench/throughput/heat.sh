# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# A back-end has settings, and nobody knows which is best on this machine. One short round, number 0, measures all of
# them; those that were best in any workload go on to the rounds that count, beside rows that are shown for themselves.

# heat TABLE ROW...
heat()
{
	local table=$1 workload RUNTIME=1
	shift

	for workload in $(workloads_of "$table"); do
		fio_round "$table" "$workload" 0 "$@"
	done
}

# winners TABLE ROW...: print those of the rows that go on.
winners()
{
	local table=$1
	shift

	awk -v prefix="$table/" -v rows="$*" '
	function contest(row) {
		match(row, /(ram|qcow2-[a-z0-9-]*)$/)
		return substr(row, 1, index(row, "-")) substr(row, RSTART) " " $2
	}
	index($1, prefix) != 1 || $3 != 0 { next }
	{
		row = substr($1, length(prefix) + 1)
		key = contest(row)
		if ($4 > best[key]) {
			best[key] = $4
			winner[key] = row
		}
	}
	END {
		for (key in winner)
			goes_on[winner[key]] = 1
		nr = split(rows, row_of, " ")
		for (i = 1; i <= nr; i++)
			if (row_of[i] in goes_on || row_of[i] ~ /^(qsd-|vhost-(w[0-9]+-)?ram$)/)
				print row_of[i]
	}' "$VBLK_OUT/rounds"
}
