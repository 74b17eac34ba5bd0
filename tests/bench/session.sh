# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# The VM that costs are measured in. Sets $VBLK_TOP and $KVER, and has tests/vm/session.sh.

VBLK_TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
KVER=${KVER:-$("$VBLK_TOP/scripts/kernel" newest)} || exit 2
export VBLK_TOP KVER
. "$VBLK_TOP/tests/vm/session.sh"

# cost_open CELL...: build, and make the directory of a run that will measure these.
cost_open()
{
	session_build modules tools tests guest-image || exit
	session_open
	session_snapshot
	printf '%s\n' "$@" >"$VBLK_OUT/todo"
	: >"$VBLK_OUT/cost"
	: >"$VBLK_OUT/counts"
}

# cost_boot COMMAND [QEMU-OPTION...]: run the command in a VM in which one instruction is one nanosecond, and a CPU
# that idles skips to its next timer. With RDRAND, as without a seed each random number of the kernel's is dear
# until it has gathered enough entropy, which would be in the middle of a run. $COST_CPU: more features of the CPU.
cost_boot()
{
	local command=$1
	shift

	export VM_ACCEL="-accel tcg,thread=single -icount shift=0,sleep=off -cpu qemu64,+rdrand${COST_CPU:+,$COST_CPU} $*"
	export VM_SMP=1 VM_APPEND='nokaslr norandmaps'
	# A second of that clock that is not idle lasts many of ours.
	export VM_PATIENCE=1800
	session_boot "$command" || { echo 'bench: the virtual machine died' >&2; exit 1; }
	[ "$(cat "$VBLK_OUT/status")" = 0 ] || { tail -n 20 "$VBLK_OUT/log" >&2; exit 1; }
}

# guest_cost_open GLOB...: the same as cost_open for the cells of nested guests that match. Needs cells.sh.
guest_cost_open()
{
	local cells

	mapfile -t cells < <(select_cells "$@")
	[[ ${cells[*]} == guest-* ]] || { echo "$(basename "$0"): no such row: $*" >&2; exit 2; }
	session_build emulator || exit
	cost_open "${cells[@]}"
}

# guest_cost_boot COMMAND: the same as cost_boot, on a processor that has nested guests.
guest_cost_boot()
{
	COST_CPU=+svm,+npt cost_boot "$1"
}
