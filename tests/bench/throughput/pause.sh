# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# How long the longest write takes of those that are in flight at any time while a snapshot is made, a disk is frozen, or gets
# larger: $PAUSES times under load, of which the 99th percentile counts. Sourced after live.sh.

PAUSES=50

measure_pause()
{
	local rows row round

	mapfile -t rows < <(selected pause)
	[ ${#rows[@]} != 0 ] || return 0
	live_begin
	for row in "${rows[@]}"; do
		full_image qcow2-xfs "$row"
		live_serve "$row"
	done
	for ((round = 1; round <= BENCH_ROUNDS; round++)); do
		for row in "${rows[@]}"; do
			pause_round "$row" $round
		done
	done
	live_end
}

# pause_round ROW ROUND: the driver leaves time to others.
pause_round()
{
	local row=$1 round=$2 i begin

	rm -f "$TMP/trace"
	pace_begin
	drive_begin "$row" --depth=8 --think-us=500 --trace="$TMP/trace"
	wait_until 60 [ -s "$TMP/trace" ]
	for ((i = 0; i < PAUSES; i++)); do
		begin=${EPOCHREALTIME/./}
		"pause_${row//-/_}" "$row" "$round-$i"
		echo "$begin ${EPOCHREALTIME/./}"
		[ "$row" != vhost-freeze ] || run vblk-thaw "$row" >&2
	done >"$TMP/windows"
	drive_end
	pace_end
	pauses "$TMP/windows" "$TMP/trace" | sort -n | awk -v cell="pause/$row" -v round="$round" '
		{ us[NR - 1] = $1 }
		END { p99 = us[int(NR * 0.99)]; print cell, "pause", round, 1e6 / p99, us[int(NR / 2)], p99 }' \
		>"$TMP/pause"
	tee -a "$VBLK_OUT/rounds" <"$TMP/pause"
}

# pauses WINDOWS TRACE: lines "BEGIN END" in microseconds, and "SENT TOOK" in nanoseconds by when it ended, to the longest in each.
pauses()
{
	awk '
	FILENAME == ARGV[1] { begin[NR] = $1; end[NR] = $2; n = NR; next }
	FNR == 1 { first = 1 }
	{
		sent = $1 / 1000
		done = sent + $2 / 1000
		# What follows began not long before this, but for one that was paused.
		while (first < n && end[first] + 10000000 < done)
			first++
		for (i = first; i <= n && begin[i] <= done; i++)
			if (sent <= end[i] && $2 / 1000 > longest[i])
				longest[i] = $2 / 1000
	}
	END { for (i = 1; i <= n; i++) print longest[i] + 0 }' "$1" "$2"
}

pause_vhost_snapshot()
{
	run vblk-snapshot "$1" "s$2" >&2
}

pause_vhost_freeze()
{
	run vblk-freeze "$1" >&2
}

pause_vhost_resize()
{
	run vblk-resize "$1" +64K >&2
}

# The node is the disk in each: what the last one made.
pause_qsd_snapshot()
{
	qmp "{\"execute\": \"blockdev-snapshot-sync\", \"arguments\": {\"node-name\": \"${qsd_top:-disk}\",
		\"snapshot-file\": \"${IMAGE%/*}/$1.$2\", \"snapshot-node-name\": \"s$2\", \"format\": \"qcow2\"}}" >&2
	qsd_top=s$2
}
