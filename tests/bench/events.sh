# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# What happens while a guest does I/O, counted by the host's tracepoints and, for interrupts, by the guest.
# Sourced after tests/lib/guest.sh.

TRACING=/sys/kernel/tracing
EVENTS=(kvm/kvm_exit sched/sched_wakeup sched/sched_switch raw_syscalls/sys_enter)

# trigger EVENT: the histogram that counts it.
trigger()
{
	case $1 in
	kvm/kvm_exit) echo hist:keys=exit_reason ;;
	*) echo hist:keys=common_pid ;;
	esac
}

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

# events_now GUEST: all counts so far, lines "NAME COUNT". The kick of a queue is an exit for a place in memory: 1024 is
# the reason on AMD, 48 and 49 on Intel. A virtual CPU is disturbed by an interrupt of the host's, 96 or 1, such as that
# which tells it to look for its own; and again when it takes interrupts at last, 100 or 7.
events_now()
{
	local threads

	threads=$(cd "/proc/${guest_pid[$1]}/task" && printf '%s|' *)
	echo "exits $(hits kvm/kvm_exit)"
	echo "kicks $(hits kvm/kvm_exit '1024|48|49')"
	echo "disturbed $(hits kvm/kvm_exit '96|100|1|7')"
	echo "wakeups $(hits sched/sched_wakeup)"
	echo "switches $(hits sched/sched_switch)"
	echo "syscalls $(hits raw_syscalls/sys_enter "${threads%|}")"
}

# interrupts_script DISK COMMAND...: for the guest's shell: run it, and print "interrupts COUNT" of that disk's.
interrupts_script()
{
	cat <<-EOF
		virtio=\$(basename "\$(readlink -f /sys/block/$1/device)")
		interrupts()
		{
			awk -v name="\$virtio-req" 'index(\$0, name) { n += \$2 } END { print n + 0 }' /proc/interrupts
		}
		before=\$(interrupts)
		${*:2} || exit
		echo interrupts \$((\$(interrupts) - before))
	EOF
}
