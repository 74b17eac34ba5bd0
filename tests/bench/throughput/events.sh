# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# What happens for one I/O of a guest with one virtual CPU. A short run is subtracted from a long one, so what starts and
# ends fio does not count. What happens by the clock does: the guest's timer, other tasks. On a slow machine that is
# more an I/O. Sourced after guest.sh and tests/bench/events.sh.

SHORT=1000
LONG=5000

measure_events()
{
	local rows row workload

	mapfile -t rows < <(selected events)
	[ ${#rows[@]} != 0 ] || return 0
	guest_begin 1 "${rows[@]}"
	events_on
	for workload in $(workloads_of events); do
		for row in "${rows[@]}"; do
			events_of "$row" "$workload" | tee -a "$VBLK_OUT/counts"
		done
	done
	events_off
	guest_finish
}

# events_run ROW WORKLOAD IOS: how much of everything these I/Os were.
events_run()
{
	local name=${file_of[$1]#/dev/}

	events_now g >"$TMP/before"
	interrupts_script "$name" fio --name=e --filename="/dev/$name" --allow_file_create=0 --direct=1 \
		--ioengine="$ENGINE" --thread --rw="${2%-qd*}" --bs=4k --iodepth="${2#*-qd}" --size="${BENCH_MIB}m" \
		--norandommap --io_size=$(($3 * 4))k | guest_run g >"$TMP/interrupts" ||
		fail "$1: $2: fio has failed: $(cat "$TMP/interrupts")"
	events_now g | paste -d ' ' "$TMP/before" - | awk '{ print $1, $4 - $2 }'
	grep '^interrupts ' "$TMP/interrupts"
}

# events_of ROW WORKLOAD: lines "events/ROW WORKLOAD NAME PER-IO".
events_of()
{
	events_run "$1" "$2" $SHORT >"$TMP/short"
	events_run "$1" "$2" $LONG >"$TMP/long"
	paste -d ' ' "$TMP/short" "$TMP/long" | awk -v cell="events/$1 $2" -v ios=$((LONG - SHORT)) \
		'{ printf "%s %s %.3f\n", cell, $1, ($4 - $2) / ios }'
}
