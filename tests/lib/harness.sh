# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# Runs tests one by one and judges them, on the host and inside the VM alike. Needs $VBLK_TOP and $VBLK_OUT,
# where it keeps logs/GROUP/NAME.log and results: a line "start TEST" and then "passed|failed|skipped TEST".

# header TEST KEY: the value of "# KEY: value" in the comment that a test begins with.
header()
{
	sed -n "/^[^#]/q; s/^# $2: *//p" "$VBLK_TOP/tests/$1"
}

# time_limit TEST: in seconds; a debug kernel stretches all of them.
time_limit()
{
	local seconds

	seconds=$(header "$1" timeout)
	echo $((${seconds:-120} * ${VBLK_TIMEOUT_SCALE:-1}))
}

# stop_test PID: let it clean up after itself; then nothing of it may stay.
stop_test()
{
	kill -TERM -- "-$1" 2>/dev/null
	timeout 60 tail --pid="$1" -s 0.1 -f /dev/null
	kill -KILL -- "-$1" 2>/dev/null
	contain_kill
}

# execute TEST LOG: its exit status, or 124 when it ran out of time.
execute()
{
	local limit pid

	limit=$(time_limit "$1")
	: >"$2"
	(contain_enter && exec setsid -- "$VBLK_TOP/tests/$1") </dev/null >>"$2" 2>&1 &
	pid=$!
	# In the background, as bash takes no signal while it waits for a foreground command.
	timeout "$limit" tail --pid=$pid -s 0.1 -f /dev/null &
	if wait $!; then
		wait $pid
		return
	fi
	echo "harness: still running after $limit seconds; stopped" >>"$2"
	contain_examine >>"$2" 2>&1
	stop_test $pid
	wait $pid
	return 124
}

# shell_error LOG: what bash had to say of the test itself. It goes on after some of these errors, so a test that
# did nothing could pass.
shell_error()
{
	sed -n -E "s,^$VBLK_TOP/tests/[^ ]*: (line [0-9]+: .*(unbound variable|syntax error|command not found|bad substitution|/dev/fd/).*),\1,p" "$1" |
		head -n 1
}

# judge STATUS LOG: print what a test's exit status, its log and the marks that it left mean, and why.
judge()
{
	local reason='' error

	[ ! -s "$VBLK_REASON" ] || reason=": $(head -n 1 "$VBLK_REASON")"
	error=$(shell_error "$2")
	case $1 in
	0) echo "${error:+failed: }${error:-passed}" ;;
	77) echo "skipped$reason" ;;
	124) echo 'failed: ran out of time' ;;
	*) echo "failed${reason:-: exit status $1}" ;;
	esac
}

# No processor's flags have any of bits 22 to 31 set: a log with such flags tells of an emulator's fault.
has_impossible_flags()
{
	grep -q -s -a -E 'EFLAGS: (00[4-9a-f]|0[1-9a-f]|[1-9a-f])' "$1"
}

# An emulated VM stood still, and nothing of ours was running there when it was made to panic.
stood_still()
{
	[ -e "$VBLK_OUT/stood-still" ] && ! grep -q -s -a -F -e '[dm_qcow2]' -e '[vhost_blk]' "$1"
}

# once_more TEST: give back the claim on it, so that it runs in another boot; once for each test. Tests on the host are
# not claimed.
once_more()
{
	[ -d "$VBLK_OUT/claims/${1/\//:}" ] && mkdir "$VBLK_OUT/claims/${1/\//:}+" 2>/dev/null && rmdir "$VBLK_OUT/claims/${1/\//:}"
}

# reconsider VERDICT TEST LOG: print what the verdict is when the machine itself is judged as well.
reconsider()
{
	if [[ $1 == failed* ]] && { has_impossible_flags "$3" || stood_still "$3"; } && once_more "$2"; then
		echo "void${1#failed}"
	else
		echo "$1"
	fi
}

# report TEST SECONDS VERDICT: one line for people, one for the final count; a failed test's log as well.
report()
{
	local test=$1 seconds=$2 verdict=$3

	echo "${verdict%%:*} $test" >>"$VBLK_OUT/results"
	case $verdict in
	passed) echo "ok $test ($seconds s)" ;;
	skipped*) echo "skipped $test ($seconds s)${verdict#skipped}" ;;
	void*) echo "once more $test ($seconds s)${verdict#void}; a fault of the emulator" ;;
	failed*)
		echo "FAILED $test ($seconds s)${verdict#failed}"
		tail -n "${VBLK_LOG_LINES:-60}" "$VBLK_OUT/logs/$test.log" | sed 's/^/    /'
		;;
	esac
}

# run_test TEST: run and judge one test; returns 1 when the machine cannot be trusted with another one.
run_test()
{
	local test=$1 log=$VBLK_OUT/logs/$1.log start=$SECONDS verdict trouble

	mkdir -p "$(dirname "$log")"
	export VBLK_REASON=$VBLK_OUT/reason VBLK_KMSG_EXPECT=$VBLK_OUT/kmsg-expect VBLK_KMSG_ALLOW=$VBLK_OUT/kmsg-allow
	rm -f "$VBLK_REASON" "$VBLK_KMSG_EXPECT" "$VBLK_KMSG_ALLOW"
	echo "start $test" >>"$VBLK_OUT/results"
	contain_begin "$test"
	execute "$test" "$log"
	verdict=$(judge $? "$log")
	trouble=$(contain_end "$log")
	[ -z "$trouble" ] || verdict="failed: $trouble"
	verdict=$(reconsider "$verdict" "$test" "$log")
	report "$test" $((SECONDS - start)) "$verdict"
	[ -z "$trouble" ]
}

# On a plain host, a test is contained by its process group only; the VM has more (tests/vm/contain.sh).
contain_begin() { :; }
contain_enter() { :; }
contain_examine() { :; }
contain_kill() { :; }
contain_end() { :; }
