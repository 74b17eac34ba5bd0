# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# Power cuts while an image from the middle of a chain is merged into the one below. Needs crash/lib.sh, dm-qcow2/lib.sh and cli/cli.sh.

# survives_merge FORMAT: of the one below.
survives_merge()
{
	local dir=$TMP/fs format=$1 options=() writer commit marks=0

	requires jq
	requires_module dm-qcow2 vhost_blk
	crash_disks 128
	cleanup rm -f "/var/lib/vblk/jobs/$NAME.json"
	run mkfs.ext4 -q "$DATA"
	run mkdir "$dir"
	run mount -t ext4 "$DATA" "$dir"

	# What mid hides of base is garbage, or a hole.
	run crash-replay stamp "$TMP/stamps" 32768
	run dd if="$TMP/stamps" of="$TMP/part" bs=1M skip=4 count=8 status=none
	run cp "$TMP/stamps" "$TMP/base"
	run dd if=/dev/zero of="$TMP/base" bs=1M seek=8 count=4 conv=notrunc status=none
	[ "$format" = raw ] || options=(-o cluster_size=16384)
	run qemu-img convert -f raw -O "$format" "${options[@]}" "$TMP/base" "$dir/base"
	run qemu-io -f "$format" -c 'write -q -P 0x66 4M 4M' "$dir/base"
	run qemu-img create -q -f qcow2 -b base -F "$format" "$dir/mid"
	run qemu-io -f qcow2 -c "write -q -s $TMP/part 4M 8M" "$dir/mid"
	run qemu-img create -q -f qcow2 -b mid -F qcow2 "$dir/top"
	run qemu-img compare -q -f raw -F qcow2 "$TMP/stamps" "$dir/top"
	run umount "$dir"

	crash_leak_limit 16M
	LEAK_LIMIT=$((LEAK_LIMIT + 256))
	crash_record
	run mount -t ext4 "$LOGGED" "$dir"
	cleanup umount_left "$dir"
	cleanup detach_all
	run vblk-attach --no-vhost "$dir/top" "$NAME" >"$TMP/out"
	DEV=/dev/mapper/$NAME
	crash-writer --log "$NAME-log" --ops 100000 --max-bytes 24576 "$DEV" "$TMP/journal" &
	writer=$!
	vblk-commit --bandwidth 4000001 --top "$dir/mid" "$NAME" >"$TMP/out" &
	commit=$!
	while kill -0 $commit 2>/dev/null; do
		crash_mark "merging$((marks++))"
	done
	wait $commit || fail 'it was not merged'
	kill -0 $writer || fail 'nobody has written while it was merged'
	kill $writer
	wait $writer || fail 'the writer failed'
	[ "$(vblk-list --json --chain "$NAME" | jq -r '.chain[].image' | xargs)" = "$dir/top $dir/base" ] || fail "$(vblk-list --chain "$NAME")"
	[ ! -e "$dir/mid" ] || fail 'what was merged is left'
	run vblk-detach "$NAME"
	run umount "$dir"
	crash_recorded
	# At the end the header names the other image, and the merged one goes.
	run crash_replay_fs ext4 top --start "merging$((marks / 2))" --cuts 16 --stamped 32768
}
