# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# Stamped writes from many threads in the background, while something happens to the device.

# load_start DEVICE MIRROR: until load_stop.
load_start()
{
	load_device=$1
	load_mirror=$2
	load_round=0
	rm -f "$TMP/load.stop" "$TMP/load.failed"
	load_loop >&2 &
	load_pid=$!
	cleanup load_kill
	wait_until 30 test -s "$TMP/journal.1"
}

load_loop()
{
	while [ ! -e "$TMP/load.stop" ]; do
		load_round=$((load_round + 1))
		crash-writer --ops 150 --seed $load_round --max-bytes 65536 --mirror "$load_mirror" "$load_device" \
			"$TMP/journal.$load_round" || touch "$TMP/load.failed" "$TMP/load.stop"
	done
}

# load_goes_on: one more round is completed.
load_goes_on()
{
	local rounds
	rounds=$(find "$TMP" -name 'journal.*' -size +0 | wc -l)

	wait_until 60 load_has_rounds $((rounds + 2))
	load_is_well
}

load_has_rounds()
{
	[ -e "$TMP/load.failed" ] || [ "$(find "$TMP" -name 'journal.*' -size +0 | wc -l)" -ge "$1" ]
}

load_is_well()
{
	[ ! -e "$TMP/load.failed" ] || fail "I/O failed under way"
}

load_stop()
{
	touch "$TMP/load.stop"
	wait "$load_pid"
	load_is_well
}

load_kill()
{
	touch "$TMP/load.stop"
	wait "$load_pid"
}

thaw_left()
{
	fsfreeze -u "$1" 2>/dev/null || true
}
