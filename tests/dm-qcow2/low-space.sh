# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# How much space the host has left for an image, and the event that says that it is little. Sourced after lib.sh; the test
# sets $level, in bytes, and $next, where its next write goes.

# events: how many the device had.
events()
{
	dmsetup info -c --noheadings -o events "$DEV"
}

# events_are NUMBER
events_are()
{
	[ "$(events)" = "$1" ]
}

# left: bytes, as the status has them, or -.
left()
{
	local last

	last=$(qcow2_status | cut -d ' ' -f 9)
	echo "${last%/*}"
}

is_known()
{
	[ "$(left)" != - ]
}

# is_low: is less left than $level, as the status has it? Asked again a second later, it has what is left now.
is_low()
{
	[ "$(left)" -lt "$level" ]
}

is_not_low()
{
	! is_low
}

# look_again: have the target look: after a resume it knows nothing else.
look_again()
{
	run dmsetup suspend "$DEV"
	run dmsetup resume "$DEV"
	wait_until 30 is_known
}

# told_each_time: no event waits for the one before to be long ago, until the test ends.
told_each_time()
{
	set_parameter low_space_event_secs 0
}

# await_event NUMBER: dmsetup waits for the one behind that.
await_event()
{
	dmsetup wait "$DEV" "$1" &
	waiter=$!
	cleanup stop_waiting $waiter
}

stop_waiting()
{
	kill "$1" 2>/dev/null || :
}

# event_came: what await_event has started returns.
event_came()
{
	wait_until 30 waiter_is_done
	wait "$waiter" || fail "dmsetup wait failed"
}

waiter_is_done()
{
	! kill -0 "$waiter" 2>/dev/null
}

# write_until_low EVENTS MIB: clusters from $next on, until the status says low. No event comes before.
write_until_low()
{
	local end=$((next + ($2 << 20))) now

	until is_low; do
		[ "$next" -lt $end ] || fail "$2 MiB are written, and $(left) bytes are left"
		now=$(events)
		[ "$now" = "$1" ] || is_low || fail "an event, and $(left) bytes are left"
		put_both "$next" $((2 << 20)) "$TMP/mirror"
		next=$((next + (2 << 20)))
	done
}

# put_range START END FILE [FLAG]: noise, which begins anew where it ends; FLAG: oflags of dd.
put_range()
{
	dd if=<(noise_forever) of="$3" bs=1M seek="$1" count=$(($2 - $1)) iflag=count_bytes,fullblock \
		oflag="seek_bytes${4:+,$4}" conv=notrunc,fsync status=none
}

noise_forever()
{
	while cat "$NOISE" 2>/dev/null; do :; done
}
