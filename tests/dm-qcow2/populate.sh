# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# Holes of a top that are filled from below: the message "populate". Sourced after tests/dm-qcow2/lib.sh.

# populate_all [BYTES]: message after message, until there is nothing left to copy. Sets POPULATED to how many bytes were copied.
populate_all()
{
	local sectors next=0 copied answer

	sectors=$(blockdev --getsz "$DEV")
	POPULATED=0
	while [ "$next" -lt "$sectors" ]; do
		answer=$(dmsetup message "$DEV" 0 populate "$next" $((sectors - next)) ${1:+"$1"}) || fail "populate from sector $next on has failed"
		read -r next copied <<<"$answer"
		POPULATED=$((POPULATED + copied))
	done
}

# stands_alone IMAGE: from here on nothing is below it.
stands_alone()
{
	run qemu-img rebase -q -u -f qcow2 -b '' "$1"
}
