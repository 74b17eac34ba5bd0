# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# Rows without a guest: what tests/bench/rows.sh makes, all of it at once.

declare -A detach_of

# measure_host TABLE
measure_host()
{
	local rows row

	mapfile -t rows < <(selected "$1")
	[ ${#rows[@]} != 0 ] || return 0
	disks_begin
	cleanup host_drop
	for row in "${rows[@]}"; do
		host_add "$row"
	done
	use_fio here
	JOBS=1
	fio_rounds "$1" "${rows[@]}"
	host_end
}

# host_add ROW: sets file_of to its device.
host_add()
{
	filled_image "$1" "$1"
	# shellcheck disable=SC2004 # the index is a name
	file_of[$1]=$DEV
	detach_of[$1]=$DETACH
}

host_end()
{
	host_drop
	disks_end
}

host_remove()
{
	DM_NAME=bench-$1
	DEV=${file_of[$1]}
	DETACH=${detach_of[$1]}
	detach_left
	unset "detach_of[$1]"
}

host_drop()
{
	local row

	for row in "${!detach_of[@]}"; do
		host_remove "$row"
	done
}
