# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# CPU time that disks take which nobody uses: of the thread of QEMU, or of the server with its workers and the kernel's
# threads for the image; and of QEMU's process with all of them, most of which is the guest's timer. Sourced after
# guest.sh.

IDLE_SECONDS=5

measure_idle()
{
	local rows row

	mapfile -t rows < <(selected idle)
	[ ${#rows[@]} != 0 ] || return 0
	guest_begin 1 "${rows[@]}"
	# What the boot has left to do.
	sleep 3
	for row in "${rows[@]}" QEMU; do
		busy_ns "$row" >"$TMP/idle.$row"
	done
	sleep $IDLE_SECONDS
	for row in "${rows[@]}" QEMU; do
		awk -v row="$row" -v seconds=$IDLE_SECONDS '
		NR == 1 { before = $1; next }
		{ printf "idle/%s - cpu_us_per_second %.3f\n", row, ($1 - before) / 1000 / seconds }
		' "$TMP/idle.$row" <(busy_ns "$row") | tee -a "$VBLK_OUT/counts"
	done
	guest_finish
}

# busy_ns ROW: nanoseconds that its threads have run. Threads of QEMU's process come and go, so its own sum is taken.
busy_ns()
{
	if [ "$1" = QEMU ]; then
		sed 's/.*) //' "/proc/${guest_pid[g]}/stat" |
			awk -v hz="$(getconf CLK_TCK)" '{ printf "%.0f\n", ($12 + $13) * 1e9 / hz }'
		return
	fi
	threads_of "$1" | sed 's/$/\/schedstat/' | xargs awk '{ n += $1 } END { printf "%.0f\n", n }'
}

# threads_of ROW: directories in /proc.
threads_of()
{
	case $1 in
	virtio-*) grep -l -x "${thread_of[$1]}" "/proc/${guest_pid[g]}/task/"*/comm | xargs dirname ;;
	vhost-qcow2-*)
		printf '%s\n' "/proc/${server_of[$1]}/task/"*
		grep -l '^qcow2_' /proc/[0-9]*/comm | xargs dirname
		;;
	*) printf '%s\n' "/proc/${server_of[$1]}/task/"* ;;
	esac
}
