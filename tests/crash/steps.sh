# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# Copy-on-write with one step left out, and with tasks held in the middle of it: a test build of the module. Sourced after
# tests/lib/test.sh and tests/dm-qcow2/lib.sh.

parameters=/sys/module/dm_qcow2/parameters

# numbers_of PREFIX HEADER: the members of an enum of the module that begin with that, in their order.
numbers_of()
{
	sed -n "s/^\t$1_\([A-Z_]*\),$/\1/p" "$VBLK_TOP/dm-qcow2/$2"
}

# load_test_build: the module that can leave out steps and hold tasks, in place of the other one. Sets steps,
# number_of and place_of.
load_test_build()
{
	local module=$VBLK_BUILD/tests/test-build-$KVER/dm-qcow2.ko places n

	[ -e "$module" ] || fail "$module was not built"
	[ ! -d /sys/module/dm_qcow2 ] || run rmmod dm_qcow2
	requires_module dm-mod
	insert_module "$module"
	cleanup rmmod dm_qcow2
	mapfile -t steps < <(numbers_of QCOW2_STEP test-skip.h)
	mapfile -t places < <(numbers_of QCOW2_HOLD test-hold.h)
	declare -gA place_of number_of
	for n in "${!places[@]}"; do
		place_of[${places[n]}]=$n
	done
	for n in "${!steps[@]}"; do
		number_of[${steps[n]}]=$n
	done
}

# leave_out NUMBER: of the step; -1: none.
leave_out()
{
	put_parameter $parameters/skip_step "$1"
}

# hold [PLACE...]: who comes there waits, until there is another list of places.
hold()
{
	local place mask=0

	for place; do
		mask=$((mask | 1 << ${place_of[$place]}))
	done
	put_parameter $parameters/hold $mask
}

# is_held PLACE: does somebody wait there?
is_held()
{
	local held

	IFS=, read -r -a held <$parameters/held
	[ "${held[${place_of[$1]}]}" != 0 ]
}

# happens COMMAND...: within some seconds. What is held or waits as it should never does.
happens()
{
	local deadline=$((SECONDS + 3))

	until "$@"; do
		[ $SECONDS -lt $deadline ] || return 1
		sleep 0.1
	done
}
