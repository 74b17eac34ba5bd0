# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# What happens for one I/O of a guest with one virtual CPU, counted by the host's tracepoints and, for interrupts, by
# the guest. A short run is subtracted from a long one, so what starts and ends fio does not count. What happens
# by the clock does: the guest's timer, other tasks. On a slow machine that is more an I/O. Sourced after guest.sh.

TRACING=/sys/kernel/tracing
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

# trigger EVENT: the histogram that counts it.
trigger()
{
	case $1 in
	kvm/kvm_exit) echo hist:keys=exit_reason ;;
	*) echo hist:keys=common_pid ;;
	esac
}

EVENTS=(kvm/kvm_exit sched/sched_wakeup sched/sched_switch raw_syscalls/sys_enter)

events_on()
{
	local event

	for event in "${EVENTS[@]}"; do
		trigger "$event" >"$TRACING/events/$event/trigger"
	done
}

events_off()
{
	local event

	for event in "${EVENTS[@]}"; do
		echo "!$(trigger "$event")" >"$TRACING/events/$event/trigger"
	done
}

# hits EVENT [PATTERN]: how often it has happened, with keys that match.
hits()
{
	sed -n -E 's/^\{ [a-z_]*: *([0-9]+) *\} hitcount: *([0-9]+).*/\1 \2/p' "$TRACING/events/$1/hist" |
		awk -v pattern="^(${2:-.*})\$" '$1 ~ pattern { n += $2 } END { print n + 0 }'
}

# events_now: all counts so far, lines "NAME COUNT". The kick of a queue is an exit for a place in memory: 1024 is the
# reason on AMD, 48 and 49 on Intel.
events_now()
{
	local threads

	threads=$(cd "/proc/${guest_pid[g]}/task" && printf '%s|' *)
	echo "exits $(hits kvm/kvm_exit)"
	echo "kicks $(hits kvm/kvm_exit '1024|48|49')"
	echo "wakeups $(hits sched/sched_wakeup)"
	echo "switches $(hits sched/sched_switch)"
	echo "syscalls $(hits raw_syscalls/sys_enter "${threads%|}")"
}

# events_run ROW WORKLOAD IOS: how much of everything these I/Os were.
events_run()
{
	local name=${file_of[$1]#/dev/}

	events_now >"$TMP/before"
	guest_run g <<-EOF >"$TMP/interrupts" || fail "$1: $2: fio has failed: $(cat "$TMP/interrupts")"
		virtio=\$(basename "\$(readlink -f /sys/block/$name/device)")
		interrupts()
		{
			awk -v name="\$virtio-req" 'index(\$0, name) { n += \$2 } END { print n + 0 }' /proc/interrupts
		}
		before=\$(interrupts)
		fio --name=e --filename=/dev/$name --allow_file_create=0 --direct=1 --ioengine=$ENGINE --thread \\
			--rw=${2%-qd*} --bs=4k --iodepth=${2#*-qd} --size=${BENCH_MIB}m --norandommap --io_size=$(($3 * 4))k \\
			>/tmp/fio || { cat /tmp/fio; exit 1; }
		echo interrupts \$((\$(interrupts) - before))
	EOF
	events_now | paste -d ' ' "$TMP/before" - | awk '{ print $1, $4 - $2 }'
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
