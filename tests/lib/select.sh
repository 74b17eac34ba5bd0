# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# Which tests to run, and where. Needs tests/lib/harness.sh, $VBLK_TOP and $KVER.

# select_tests SELECTION...: print the tests that were asked for, each after the place that it runs in.
select_tests()
{
	local file test

	for file in "$VBLK_TOP"/tests/*/*; do
		test=${file#"$VBLK_TOP/tests/"}
		if is_test "$test" && is_selected "$test" "$@"; then
			echo "$(place_of "$test") $test"
		fi
	done
}

# A test is an executable bash file; helper programs live in groups without tests.
is_test()
{
	case $1 in
	lib/*|vm/*|tools/*|bench/*) return 1 ;;
	esac
	[ -f "$VBLK_TOP/tests/$1" ] && [ -x "$VBLK_TOP/tests/$1" ] &&
		head -n 1 "$VBLK_TOP/tests/$1" | grep -q '^#!/bin/bash$'
}

# place_of TEST: "host", or the number of processors of the VM.
place_of()
{
	local cpus

	if [ "$(header "$1" where)" = host ]; then
		echo host
	else
		cpus=$(header "$1" cpus)
		echo "${VM_SMP:-${cpus:-2}}"
	fi
}

is_selected()
{
	local test=$1 selection
	shift

	if [ $# = 0 ]; then
		is_in_suite "$test"
		return
	fi
	for selection; do
		# shellcheck disable=SC2053 # a selection is a glob
		if [[ $test == $selection || ${test%%/*} == "$selection" ]]; then
			return 0
		fi
	done
	return 1
}

# is_in_suite TEST: whether it runs without having been named.
is_in_suite()
{
	local kind=stock

	case $(header "$1" suite) in
	'') ;;
	full) [ -n "${VBLK_FULL:-}" ] || return 1 ;;
	*) return 1 ;;
	esac
	case $KVER in
	*-dbg) kind=debug ;;
	*-um) kind=um ;;
	esac
	[[ $(header "$1" kernel) == @(|"$kind") ]]
}
