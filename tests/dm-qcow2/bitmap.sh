# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# Bitmaps, as QEMU reads them. Sourced after tests/dm-qcow2/lib.sh.

# dirty_extents IMAGE BITMAP: what a server of QEMU's says about an image that nobody has: a line "OFFSET BYTES" for each
# range that has changed.
dirty_extents()
{
	local socket=$TMP/nbd.sock pid

	rm -f "$socket"
	qemu-nbd --read-only --format=qcow2 --bitmap="$2" --socket="$socket" --fork --pid-file="$TMP/nbd.pid" "$1" ||
		fail "QEMU does not serve bitmap $2 of $1"
	read -r pid <"$TMP/nbd.pid"
	# Of a bitmap QEMU says that there is no data where it has bits.
	qemu-img map --output=json --image-opts \
		"driver=nbd,server.type=unix,server.path=$socket,x-dirty-bitmap=qemu:dirty-bitmap:$2" |
		sed -n 's/.*"start": \([0-9]*\), "length": \([0-9]*\),.*"data": false.*/\1 \2/p'
	wait_until 30 test ! -d "/proc/$pid"
}

# add_up BYTES IMAGE BITMAP BACKUP CONTENT: what an incremental backup does: whatever the bitmap says goes to BACKUP from
# CONTENT. Sets ADDED to the bytes of it.
add_up()
{
	local offset bytes

	ADDED=0
	dirty_extents "$2" "$3" >"$TMP/extents"
	while read -r offset bytes; do
		dd if="$5" of="$4" bs=64K iflag=skip_bytes,count_bytes oflag=seek_bytes skip="$offset" count="$bytes" \
			seek="$offset" conv=notrunc status=none || fail "cannot copy $bytes at $offset"
		ADDED=$((ADDED + bytes))
	done <"$TMP/extents"
	((ADDED <= $1)) || fail "the bitmap says $ADDED bytes, at most $1 have changed"
}

# records_exactly IMAGE BITMAP REFERENCE: the same as QEMU recorded in another image, to the bit.
records_exactly()
{
	dirty_extents "$1" "$2" >"$TMP/ours"
	dirty_extents "$3" "$2" >"$TMP/theirs"
	diff "$TMP/theirs" "$TMP/ours" || fail "bitmap $2 of $1 is not what QEMU records"
}
