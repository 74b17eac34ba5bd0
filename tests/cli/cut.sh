# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# A verb that is killed, or to which a call fails, at each point at which it changes something. Sourced after tests/lib/test.sh.
#
# What a verb does is one sequence of system calls, which strace disturbs. What is done while a device is suspended a process
# of its own does, with another: cut-apart.so (cut-apart.c) disturbs that.

cut_preload=$VBLK_BUILD/tests/cut-apart.so

# cut_points COMMAND...: run it, and set POINTS to where it can be cut: "CALL N HOW" of strace's, or "apart N HOW" of its forks.
cut_points()
{
	rm -f "$TMP/apart"
	run strace -E "LD_PRELOAD=$cut_preload" -E "CUT_APART_LOG=$TMP/apart" -o "$TMP/calls" \
		-e trace=openat,linkat,rename,flock,pwrite64,fsync,unlink,unlinkat,wait4,ioctl "$@" >"$TMP/out"
	awk '/^[a-z]/ {
		call = $1; sub(/\(.*/, "", call); n[call]++
		if (call == "ioctl" && !/DM_(DEV_CREATE|DEV_REMOVE|DEV_SUSPEND|TABLE_LOAD|TABLE_CLEAR|TARGET_MSG),/) next
		if (call == "openat" && !/O_CREAT/) next
		print call, n[call], "signal=KILL"
		if (call == "fsync" || /DM_TABLE_LOAD/) print call, n[call], "error=EIO"
	}' "$TMP/calls" >"$TMP/points"
	awk '{ print "apart", $1, "kill"; if ($2 != "suspend") print "apart", $1, "EIO" }' "$TMP/apart" >>"$TMP/points"
	cat "$TMP/points"
	mapfile -t POINTS <"$TMP/points"
}

# cut_run CALL N HOW COMMAND...: run it, and cut it there. Returns its exit status, when nobody whom it has left is at work any more.
cut_run()
{
	local call=$1 n=$2 how=$3 rc=0
	shift 3

	if [ "$call" = apart ]; then
		env LD_PRELOAD="$cut_preload" CUT_APART="$n $how" "$@" || rc=$?
	else
		strace -E "LD_PRELOAD=$cut_preload" -o "$TMP/trace" -e "trace=$call" -e "inject=$call:$how:when=$n" "$@" || rc=$?
	fi
	wait_until 60 sh -c "! pgrep -x '$1' >/dev/null && ! pgrep -x qemu-img >/dev/null"
	return $rc
}
