# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# Figures that are kept in the tree, lines "ROW WORKLOAD NS", and what has become worse since.

RECORDED=$VBLK_TOP/tests/bench/recorded
TOLERANCE=2

# What the modules do is recorded, and one row without them, which tells a new kernel from a new fault.
RECORDED_ROWS=(linear 'qcow2-*' 'vhost-*')

# record CELLS: take the figures of those cells, and keep the others.
record()
{
	local new=$RECORDED.$$

	{
		echo '# SPDX-License-Identifier: GPL-2.0-only'
		echo "# Nanoseconds per I/O; written by \"tests/bench/run --record\"."
		{
			cut -d ' ' -f 1-3 "$1"
			[ ! -e "$RECORDED" ] || grep -v '^#' "$RECORDED"
		} | awk '!seen[$1, $2]++' | LC_ALL=C sort
	} >"$new"
	mv "$new" "$RECORDED"
}

# check CELLS: print each one that has a record, and fail if any is worse by more than the tolerance.
check()
{
	awk -v tolerance=$TOLERANCE '
	FNR == 1 && FILENAME == ARGV[2] { printf "\n%-38s %10s %10s\n", "against the record", "recorded", "now" }
	/^#/ { next }
	FILENAME == ARGV[1] { recorded[$1, $2] = $3; next }
	!(($1, $2) in recorded) { next }
	{
		known++
		change = 100 * ($3 / recorded[$1, $2] - 1)
		verdict = change > tolerance ? "WORSE" : change < -tolerance ? "better" : ""
		worse += verdict == "WORSE"
		printf "%-38s %10.0f %10.0f %+7.2f%% %s\n", $1 "/" $2, recorded[$1, $2], $3, change, verdict
	}
	END {
		printf "%d cells, %d worse by more than %s %%\n", known, worse, tolerance
		exit worse || !known
	}' "$RECORDED" "$1"
}
