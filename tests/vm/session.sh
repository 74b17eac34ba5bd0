# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# What a run of the VM needs around it: the build, a directory for its output, a copy of the tree, and a clean
# end. Used by tests/run and by the demo. Needs $VBLK_TOP and $KVER; sets $VBLK_OUT.

# A debug kernel is slow: every time limit is a multiple. A user-mode machine has one processor.
case $KVER in
*-dbg) : "${VBLK_TIMEOUT_SCALE:=10}" ;;
*-um) : "${VBLK_TIMEOUT_SCALE:=3}" "${VM_SMP:=1}" ;;
esac
export VBLK_TIMEOUT_SCALE=${VBLK_TIMEOUT_SCALE:-1}
export VM_TIMEOUT=${VM_TIMEOUT:-$((4500 * VBLK_TIMEOUT_SCALE * (${VBLK_FULL:+3} + 1)))}

session_stop()
{
	# shellcheck disable=SC2046 # a list of processes
	kill $(jobs -p) 2>/dev/null
	wait
}

# session_end: whatever happened, no VM and no bulk stay behind.
session_end()
{
	session_stop
	[ -z "${VBLK_OUT:-}" ] || rm -rf "$VBLK_OUT"/{tree,scratch?,vm?/scratch?}
}
trap session_end EXIT
trap 'exit 130' INT TERM

# session_build TARGET...: two runs in one tree must not build at the same time.
session_build()
{
	mkdir -p "$VBLK_TOP/build"
	flock "$VBLK_TOP/build/lock" make -s -C "$VBLK_TOP" "$@"
}

# session_open: a directory of this run's own; those of finished runs are removed but for the newest ones.
session_open()
{
	local logs=$VBLK_TOP/build/logs old

	VBLK_OUT=$logs/$(date +%Y%m%d-%H%M%S).$$
	mkdir -p "$VBLK_OUT/logs"
	exec 9>"$VBLK_OUT/lock"
	flock 9
	ln -sfn "$(basename "$VBLK_OUT")" "$logs/last"
	export VBLK_OUT
	for old in $(find "$logs" -mindepth 1 -maxdepth 1 -type d | sort -r | tail -n +11); do
		flock -n "$old/lock" rm -rf "$old"
	done
}

# session_snapshot: copy what runs in the VM, so that nobody's edit or build disturbs it.
session_snapshot()
{
	local part

	mkdir -p "$VBLK_OUT/tree/build"
	tar -C "$VBLK_TOP" --exclude=./build --exclude=./.git -cf - . | tar -C "$VBLK_OUT/tree" -xf -
	for part in "$KVER" tools tests; do
		[ ! -e "$VBLK_TOP/build/$part" ] || cp -a "$VBLK_TOP/build/$part" "$VBLK_OUT/tree/build/"
	done
	# Never written to once made, so links do.
	cp -al "$VBLK_TOP/build/guest" "$VBLK_OUT/tree/build/"
	for part in "$VBLK_TOP"/build/suites/installed-*; do
		[ ! -d "$part" ] || { mkdir -p "$VBLK_OUT/tree/build/suites" && cp -al "$part" "$VBLK_OUT/tree/build/suites"; }
	done
	cat >"$VBLK_OUT/env" <<-EOF
		export KVER=$KVER VBLK_TIMEOUT_SCALE=$VBLK_TIMEOUT_SCALE VBLK_LOG_LINES=${VBLK_LOG_LINES:-60}
		export VBLK_SEED=${VBLK_SEED:-} VBLK_FULL=${VBLK_FULL:-}
	EOF
}

# session_vm N: one of several VMs, with a directory of its own for what is not shared.
session_vm()
{
	VM_SHARE=$VBLK_OUT
	VBLK_OUT=$VBLK_OUT/vm$1
	export VM_SHARE VBLK_OUT
	mkdir "$VBLK_OUT"
	ln -s ../tree ../logs ../claims ../env "$VBLK_OUT"
}

# session_own: a subshell is in charge of the VM that it starts.
session_own()
{
	trap session_stop EXIT
	trap 'exit 130' INT TERM
}

# session_boot COMMAND [FILE]: boot, and run COMMAND in the VM; show what it prints, and a FILE of the output
# directory, as they grow. Fails when the VM died.
session_boot()
{
	local shown=("$VBLK_OUT/report") vm

	echo "$1" >"$VBLK_OUT/command"
	[ $# = 1 ] || shown+=("$VBLK_OUT/$2")
	tee "${shown[@]}" </dev/null
	"$VBLK_TOP/tests/vm/boot" "$VBLK_OUT" 9>&- &
	vm=$!
	# Bash takes no signal while it waits for a foreground command.
	tail -q -n +1 -s 0.2 --pid=$vm -f "${shown[@]}" 9>&- &
	wait $!
	wait $vm
}
