# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# Images with compressed clusters: by qemu-img, and by hand. Sourced after lib.sh.

# compressed_image FILE RAW OPTIONS: from a raw file, by qemu-img; all that can be compressed is.
compressed_image()
{
	run qemu-img convert -c -f raw -O qcow2 -o "$3" "$2" "$1"
	(($(compressed_count "$1") > 0)) || fail "nothing is compressed in $1"
}

# compressed_count IMAGE: as QEMU counts.
compressed_count()
{
	local count

	count=$(qemu-img check --output=json -f qcow2 "$1" | sed -n 's/.*"compressed-clusters": \([0-9]*\).*/\1/p')
	echo "${count:-0}"
}

# text FILE BYTES: no two places of it look alike, and it can be compressed.
text()
{
	seq 100000000 999999999 | head -c "$2" >"$1"
}

# stream_of IMAGE CLUSTER: sets STREAM and STREAM_BYTES to where the stream of a guest cluster is.
stream_of()
{
	local size=$((1 << $(be32 "$1" 20)))

	read -r STREAM STREAM_BYTES < <(image-show compressed "$1" | awk -v at=$(($2 * size)) '$1 == at { print $2, $3 }')
	[ -n "$STREAM" ] || fail "guest cluster $2 of $1 is not compressed"
}

# put_entry IMAGE CLUSTER HOST-OFFSET SECTORS: a descriptor; the image has one L2 table.
put_entry()
{
	local bits table

	bits=$(be32 "$1" 20)
	table=$(($(be64 "$1" "$(be64 "$1" 40)") & 0x00fffffffffffe00))
	[ $table != 0 ] || fail "$1 has no L2 table"
	put_be64 "$1" $((table + 8 * $2)) $((1 << 62 | ($4 - 1) << (62 - (bits - 8)) | $3))
}

# put_stream IMAGE CLUSTER [BYTES [SECTORS]]: append what standard input has, BYTES behind the start of a host cluster,
# and say that it is so many SECTORS more than it needs. Refcounts are not kept.
put_stream()
{
	local size=$((1 << $(be32 "$1" 20))) at bytes

	cat >"$TMP/stream"
	bytes=$(stat -c %s "$TMP/stream")
	at=$((($(stat -c %s "$1") + size - 1) / size * size + ${3:-0}))
	run dd if="$TMP/stream" of="$1" bs=4096 seek=$at oflag=seek_bytes conv=notrunc status=none
	put_entry "$1" "$2" $at $(((at % 512 + bytes + 511) / 512 + ${4:-0}))
}

# deflate: raw, with a window of 32 KiB; QEMU makes none that wide.
deflate()
{
	gzip -9nc | tail -c +11 | head -c -8
}

# pack zlib|zstd: standard input, as one stream.
pack()
{
	case $1 in
	zlib) deflate ;;
	zstd) zstd -cq ;;
	esac
}

# content FILE CLUSTER [FROM [BYTES]]: a part of a cluster of 64 KiB of a raw file.
content()
{
	tail -c +$(($2 * 65536 + ${3:-0} + 1)) "$1" | head -c "${4:-65536}"
}
