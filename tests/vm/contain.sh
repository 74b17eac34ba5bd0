# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# How the VM watches over a test: a cgroup holds all of its processes, and after it the kernel's log has no
# new complaint, no process is left and no device-mapper device.

cgroup=/sys/fs/cgroup/test
. "$VBLK_TOP/tests/vm/kmsg.sh"

contain_begin()
{
	mkdir -p $cgroup
	kmsg_mark "$1"
}

contain_enter()
{
	echo 0 >$cgroup/cgroup.procs
}

# What a test that hangs is doing: its threads, block devices with I/O in flight, and the stacks of all tasks that are
# blocked.
contain_examine()
{
	local pid task

	while read -r pid; do
		echo "--- $pid $(tr '\0' ' ' <"/proc/$pid/cmdline")"
		for task in "/proc/$pid/task"/*; do
			echo "thread $(cat "$task/comm")"
			cat "$task/stack"
		done
	done <$cgroup/cgroup.procs
	grep -H . /sys/block/*/inflight
	dmsetup status --noflush
	echo w >/proc/sysrq-trigger
}

contain_kill()
{
	echo 1 >$cgroup/cgroup.kill
}

is_empty()
{
	grep -q '^populated 0' $cgroup/cgroup.events
}

# A process that was told to end has a moment to do so.
processes_left()
{
	for _ in {1..50}; do
		! is_empty || return 0
		sleep 0.1
	done
	echo "processes left behind: $(xargs -r ps -o comm= -p <$cgroup/cgroup.procs | xargs)"
	contain_kill
	for _ in {1..50}; do
		! is_empty || return 0
		sleep 0.1
	done
}

devices_left()
{
	local names

	udevadm settle --timeout=10
	names=$(dmsetup info --noheadings -c -o name 2>/dev/null | grep -v '^No devices' | xargs)
	[ -n "$names" ] || return 0
	echo "device-mapper devices left behind: $names"
	# shellcheck disable=SC2086 # a list of names
	timeout 20 dmsetup remove --force $names >/dev/null 2>&1
}

# contain_end LOG: print in one line what is wrong with the machine after a test; details go to LOG.
contain_end()
{
	{
		kmsg_complaints "$1"
		processes_left
		devices_left
	} | paste -s -d ';'
}
