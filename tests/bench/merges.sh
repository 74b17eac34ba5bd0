# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# What a commit and a flatten cost of a disk that nobody uses, and qemu-img of the detached images. Where a CPU is what limits
# them, that is how long they take. Sourced after tests/bench/copies.sh.

# merge_chain_make ROW MIB: a base and an overlay; what is to be merged has so much of each 16 MiB. What a commit goes to has
# all.
merge_chain_make()
{
	case $1 in
	*commit-*)
		row_make qcow2-xfs-chain1 fresh
		write_parts "$2"
		;;
	*)
		row_make qcow2-xfs fresh
		write_parts "$2"
		overlay_make "$IMAGE" "$IMAGE_MNT/overlay1"
		IMAGE=$IMAGE_MNT/overlay1
		;;
	esac
	detach_left
	run sync -f "$IMAGE_MNT"
}

# merge ROW: what is measured.
merge()
{
	case $1 in
	commit-*) vblk-commit "$DM_NAME" ;;
	flatten-*) vblk-flatten "$DM_NAME" ;;
	qemu-commit-*) qemu-img commit -q -f qcow2 "$IMAGE" ;;
	qemu-flatten-*) qemu-img convert -f qcow2 -O qcow2 "$IMAGE" "$IMAGE_MNT/flat" ;;
	esac >&2
}

# merge_once ROW MIB: print what it takes until all is durable.
merge_once()
{
	local row=$1 before ns

	merge_chain_make "$row" "$2"
	[[ $row == qemu-* ]] || run vblk-attach --no-vhost "$IMAGE" "$DM_NAME" >&2
	before=$(busy-ns)
	merge "$row" || fail "$row: it has failed"
	run sync -f "$IMAGE_MNT"
	ns=$(($(busy-ns) - before))
	[[ $row == qemu-* ]] || run vblk-detach "$DM_NAME" >&2
	row_remove
	echo "$row: $2 of 16 MiB: $ns" >&2
	echo $ns
}

# merge_rounds ROW MIB N: without the first, in which programs are loaded.
merge_rounds()
{
	local round

	for ((round = 0; round <= $3; round++)); do
		merge_once "$1" "$2" || exit
	done | sed 1d
}

# measure_merge ROW
measure_merge()
{
	local row=$1 less

	less=$(merge_rounds "$row" 2 3 | median_of_three) || exit
	merge_rounds "$row" 4 3 | per_block "$less" >"$TMP/rounds" || exit
	note "$row" merge
}
