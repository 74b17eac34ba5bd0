# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# Rows in a nested guest "g", which has the disks of all of them. Sourced after backend.sh.

# measure_guest TABLE VCPUS
measure_guest()
{
	local table=$1 rows

	mapfile -t rows < <(selected "$table")
	[ ${#rows[@]} != 0 ] || return 0
	guest_begin "$2" "${rows[@]}"
	if [ -n "$BENCH_HEAT" ]; then
		heat "$table" "${rows[@]}"
		mapfile -t rows < <(winners "$table" "${rows[@]}")
	fi
	fio_rounds "$table" "${rows[@]}"
	guest_finish
}

# guest_begin VCPUS ROW...: a guest with these disks, each with as many queues; sets file_of.
guest_begin()
{
	local vcpus=$1 row
	shift

	backends_begin
	for row; do
		backend_add "$row" "$vcpus"
	done
	guest_boot "$vcpus" "$@"
}

# guest_boot VCPUS ROW...: the same when all back-ends are there.
guest_boot()
{
	local vcpus=$1
	booted=("$@")
	shift

	guest_start g - --smp "$vcpus" --mem 512 "${guest_args[@]}"
	guest_disks "$@"
	no_scheduler
	use_fio guest
	JOBS=$vcpus
}

# no_scheduler: disks with several queues have none by default; with one, no back-end is slower without.
no_scheduler()
{
	guest_run g <<<'for disk in /sys/block/vd*; do echo none >"$disk/queue/scheduler"; done' >&2
}

# guest_well: it still answers.
guest_well()
{
	(guest_run g 60 <<<:) >&2
}

# guest_again: another in place of one that has died.
guest_again()
{
	guest_examine g >&2
	guest_kill g
	guest_boot "${booted[@]}"
}

guest_finish()
{
	guest_stop g
	backends_end
}

# guest_disks ROW...: sets file_of to the names by which the guest knows them.
guest_disks()
{
	local row name

	for row; do
		name=$(guest_run g <<<"cd /sys/bus/pci/devices/0000:00:${slot_of[$row]}/virtio*/block && echo *") ||
			fail "$row: the guest does not see it"
		# shellcheck disable=SC2004 # the index is a name
		file_of[$row]=/dev/$name
	done
}
