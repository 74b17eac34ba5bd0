# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# The rows: what a disk of $BENCH_MIB is made of, on a RAM disk. A row is named [vhost-]KIND[-PLACE][-VARIANT].
#
#     KIND   linear  dm-linear              raw    a raw file      loop  a loop device on a raw file
#            qcow2   dm-qcow2               nbd    qemu-nbd        ram   the RAM disk itself
#            qsd     qemu-storage-daemon, which virtio-front drives through a socket
#            virtio  a virtio-blk disk of the machine that measures; for profiles of what a guest spends
#     PLACE  bdev    the RAM disk           xfs, ext4   a file on it
#     VARIANT  1g, 16t   the image is that large; only the end of it, $BENCH_MIB, is used
#              8g, 64g   as large, for what is discarded or zeroed as a whole; of the first all is mapped, and the
#                        RAM disk has none of the data
#              full-1g, full-1t   all of it is mapped, and it was grown by $GROWN_MIB then
#              4q        four queues, each with a worker, instead of one
#              chain1, chain8, chain64   an overlay without data over so many images: all data is in the lowest
#              overlays  chain1, of 16 GiB, on whose base $OTHERS more overlays are attached
#              zlib      all of it is compressed
#              bitmap  it has a bitmap that records
#              ext, ext-chain1   extended L2 entries, clusters of 128 KiB; of a chain in the overlay only
#              data      the RAM disk is its raw data file, and the image is elsewhere
#
# Sourced after tests/lib/test.sh. row_make sets DEV, the path to do I/O on, and DETACH, what io-cost needs to end
# its use; row_remove takes away what is left. There is no udev: it would run when it pleases. Whoever wants several
# at once calls the parts of row_make, with another LOWER, IMAGE_MNT, IMAGE and DM_NAME for each.

BENCH_MIB=256
GROWN_MIB=1024
RAM_MIB=448
ZLIB_MIB=64
OTHERS=999
IMAGE_MNT=$TMP/mnt
LOWER=/dev/ram0
DM_NAME=bench
DEV=
DETACH=
BELOW=()
SIZE_MIB=$BENCH_MIB

# rows_prepare: begin, make the RAM disk and fill it, so that its memory is there.
rows_prepare()
{
	rows_begin
	ram_disks 1
	dd if=/dev/zero of=/dev/ram0 bs=1M oflag=direct status=none 2>/dev/null
}

# rows_begin: stop what would disturb, and load what rows are made with.
rows_begin()
{
	udevadm control --exit
	rm -f /run/udev/control
	export DM_DISABLE_UDEV=1
	requires_module dm-mod loop xfs ext4 dm-qcow2 vhost_blk
	run modprobe nbd nbds_max=1 max_part=0
	mkdir -p "$IMAGE_MNT"
}

# ram_disks N: empty ones, instead of those that there are.
ram_disks()
{
	[ ! -d /sys/module/brd ] || run modprobe -r brd
	run modprobe brd rd_nr="$1" rd_size=$((RAM_MIB * 1024)) max_part=0
}

# kind_of ROW, place_of ROW: the parts of its name.
kind_of()
{
	local row=${1#vhost-}

	echo "${row%%-*}"
}

place_of()
{
	case $1 in
	*-xfs|*-xfs-*) echo xfs ;;
	*-ext4|*-ext4-*) echo ext4 ;;
	*) echo bdev ;;
	esac
}

# size_of ROW: in MiB. What is used of it is the last $BENCH_MIB.
size_of()
{
	case $1 in
	*-full-1g) echo $((1024 + GROWN_MIB)) ;;
	*-full-1t) echo $(((1 << 20) + GROWN_MIB)) ;;
	*-1g) echo 1024 ;;
	*-8g) echo $((8 << 10)) ;;
	*-64g) echo $((64 << 10)) ;;
	*-16t) echo $((16 << 20)) ;;
	*-overlays) echo $((16 << 10)) ;;
	*-zlib) echo $ZLIB_MIB ;;
	*) echo $BENCH_MIB ;;
	esac
}

# options_of ROW: of the image, or of the overlay.
options_of()
{
	case $1 in
	*-ext|*-ext-*) echo extended_l2=on,cluster_size=128k ;;
	esac
}

# queues_of ROW
queues_of()
{
	case $1 in
	*-4q) echo 4 ;;
	*) echo 1 ;;
	esac
}

# place_make PLACE: sets IMAGE to where the image goes. LOWER is the RAM disk, or something that counts above it.
# Nothing may be discarded: the RAM disk would give its memory back.
place_make()
{
	IMAGE=$IMAGE_MNT/image
	case $1 in
	bdev) IMAGE=$LOWER ;;
	xfs) run mkfs.xfs -q -f -K "$LOWER" ;;
	ext4) run mkfs.ext4 -q -F -E nodiscard,lazy_itable_init=0,lazy_journal_init=0 "$LOWER" ;;
	esac
	[ "$1" = bdev ] || run mount -t "$1" "$LOWER" "$IMAGE_MNT"
}

# image_make KIND [OPTIONS]: a fresh image; no guest block of it has been written.
image_make()
{
	case $1 in
	qcow2|nbd)
		local template=$TMP/template$SIZE_MIB${2:+-ext}
		[ -e "$template" ] || run qemu-img create -q -f qcow2 ${2:+-o "$2"} "$template" "${SIZE_MIB}M"
		run dd if="$template" of="$IMAGE" bs=64K conv=notrunc,fsync status=none
		;;
	raw|loop) run fallocate -l ${BENCH_MIB}M "$IMAGE" ;;
	esac
}

# mapped_image_make: every guest cluster has one of the host.
mapped_image_make()
{
	run qemu-img create -q -f qcow2 -o preallocation=metadata "$IMAGE" "${SIZE_MIB}M"
	run sync -f "$IMAGE"
}

# full_image_make: every guest cluster has one of the host, as QEMU preallocates them, but for what was grown. For
# ext4: XFS takes more space for so many distant pieces than the RAM disk has.
full_image_make()
{
	run qemu-img create -q -f qcow2 -o preallocation=metadata "$IMAGE" $((SIZE_MIB - GROWN_MIB))M
	run qemu-img resize -q "$IMAGE" ${SIZE_MIB}M
	run sync -f "$IMAGE"
}

# depth_of ROW: how many images are below the top.
depth_of()
{
	case $1 in
	*-chain*) echo "${1##*-chain}" ;;
	*-overlays) echo 1 ;;
	*) echo 0 ;;
	esac
}

# chain_make DEPTH: a base on which everything has been written, and overlays; BELOW has all but the top.
chain_make()
{
	local i

	IMAGE=$IMAGE_MNT/base
	image_make qcow2
	attach qcow2
	fill qcow2
	detach_left
	for ((i = 1; i <= $1; i++)); do
		BELOW+=("$IMAGE")
		overlay_make "$IMAGE" "$IMAGE_MNT/overlay$i"
		IMAGE=$IMAGE_MNT/overlay$i
	done
	run sync -f "$IMAGE"
}

# overlay_make BELOW IMAGE
overlay_make()
{
	run qemu-img create -q -u -f qcow2 -F qcow2 -b "$1" "$2" "${SIZE_MIB}M"
}

# extended_make OPTIONS: an overlay with these on a raw base. The RAM disk has no room for as many large clusters beside a full
# one, so that is a hole; it counts as data, of which writes of whole subclusters read nothing.
extended_make()
{
	run truncate -s "${SIZE_MIB}M" "$IMAGE_MNT/base"
	BELOW=("format:raw" "$IMAGE_MNT/base")
	IMAGE=$IMAGE_MNT/overlay
	run qemu-img create -q -f qcow2 -o "$1" -F raw -b "$IMAGE_MNT/base" "$IMAGE" "${SIZE_MIB}M"
	run sync -f "$IMAGE"
}

# data_file_make: the words of the table are in BELOW and IMAGE.
data_file_make()
{
	BELOW=(data:"$IMAGE")
	IMAGE=$TMP/shell
	run qemu-img create -q -f qcow2 -o "data_file=$LOWER,data_file_raw=on" "$IMAGE" "${SIZE_MIB}M"
	run sync -f "$IMAGE"
}

# others_attach: more overlays on the base of the row, sparse ones, as the RAM disk has no room for so many whole ones.
others_attach()
{
	local i separator=

	overlay_make "${BELOW[0]}" "$IMAGE_MNT/empty"
	for ((i = 0; i < OTHERS; i++)); do
		run cp --sparse=always "$IMAGE_MNT/empty" "$IMAGE_MNT/other$i" 2>/dev/null
		printf '%s' "${separator}other$i,,,rw,0 $((SIZE_MIB * 2048)) qcow2 ${BELOW[0]} $IMAGE_MNT/other$i"
		separator=';'
	done >"$TMP/others"
	run dmsetup create --concise <"$TMP/others"
}

# others_remove: they are looked for in /dev, as a subshell may have made them.
others_remove()
{
	local others=(/dev/mapper/other*)

	[ ! -e "${others[0]}" ] || run dmsetup remove --retry "${others[@]##*/}"
}

# zlib_image_make: made once, as it takes long.
zlib_image_make()
{
	if [ ! -e "$TMP/zlib" ]; then
		compressible_data >"$TMP/data"
		run qemu-img convert -q -c -f raw -O qcow2 "$TMP/data" "$TMP/zlib"
		rm "$TMP/data"
	fi
	run cp "$TMP/zlib" "$IMAGE"
	run sync -f "$IMAGE"
}

# compressible_data: the same each time: a MiB of words, frequent ones and rare ones, again and again: compression looks
# back less far than that.
compressible_data()
{
	local i

	awk 'BEGIN {
		srand(1)
		for (i = 0; i < 4096; i++)
			word[i] = sprintf("%x", int(rand() * 16777216))
		while (bytes < 1048576) {
			text = word[int(4096 * rand() * rand())] (rand() < 0.1 ? "\n" : " ")
			bytes += length(text)
			printf "%s", text
		}
	}' | head -c 1M >"$TMP/words"
	for ((i = 0; i < ZLIB_MIB; i++)); do
		cat "$TMP/words"
	done
}

# attach KIND
attach()
{
	DETACH=
	case $1 in
	ram|raw) DEV=$IMAGE ;;
	virtio) DEV=/dev/disk/by-id/virtio-scratch1 ;;
	linear) attach_dm linear "$IMAGE" 0 ;;
	qcow2) attach_dm qcow2 "${BELOW[@]}" "$IMAGE" ;;
	loop) DEV=$(losetup --find --show --direct-io=on "$IMAGE") || fail 'no loop device' ;;
	nbd) attach_nbd ;;
	qsd) attach_qsd ;;
	esac
}

attach_dm()
{
	run dmsetup create "$DM_NAME" --table "0 $((SIZE_MIB * 2048)) $*"
	DEV=/dev/mapper/$DM_NAME
	DETACH=dm:$DM_NAME
}

# The device is there once the kernel knows who serves it.
attach_nbd()
{
	run qemu-nbd -c /dev/nbd0 --fork --pid-file="$TMP/nbd.pid" -f qcow2 --cache=none --discard=unmap --aio="${NBD_AIO:-native}" "$IMAGE"
	DEV=/dev/nbd0
	wait_until 60 [ -e /sys/block/nbd0/pid ]
	wait_until 60 [ "$(blockdev --getsize64 /dev/nbd0)" != 0 ]
	DETACH=nbd:$(cat "$TMP/nbd.pid")
}

# attach_qsd: DEV is the socket.
attach_qsd()
{
	DEV=$TMP/qsd.sock
	qemu-storage-daemon --object iothread,id=t --daemonize --pidfile "$TMP/qsd.pid" \
		--blockdev "driver=file,node-name=file,filename=$IMAGE,cache.direct=on,aio=native,discard=unmap" \
		--blockdev driver=qcow2,node-name=disk,file=file,cache.direct=on,discard=unmap \
		--export "vhost-user-blk,id=e,node-name=disk,addr.type=unix,addr.path=$DEV,writable=on,iothread=t" ||
		fail 'no qemu-storage-daemon'
	DETACH=pid:$(cat "$TMP/qsd.pid")
}

# detach_left: end the use of what io-cost was not told to detach.
detach_left()
{
	case $DETACH in
	dm:*)
		! dmsetup info "$DM_NAME" >/dev/null 2>&1 || run dmsetup remove --retry "$DM_NAME"
		rm -f "$DEV"
		;;
	nbd:*)
		[ ! -e /sys/block/nbd0/pid ] || run qemu-nbd -d /dev/nbd0 >&2
		timeout 60 tail --pid="${DETACH#nbd:}" -s 0.1 -f /dev/null
		;;
	pid:*)
		! kill "${DETACH#pid:}" 2>/dev/null || timeout 60 tail --pid="${DETACH#pid:}" -s 0.1 -f /dev/null
		;;
	esac
	[[ $DEV != /dev/loop* ]] || run losetup -d "$DEV"
	DETACH=
	DEV=
}

# fill: write every block once, so that all of them are mapped, and attach anew.
fill()
{
	run dd if=/dev/zero of="$DEV" bs=1M count=$BENCH_MIB seek=$((SIZE_MIB - BENCH_MIB)) oflag=direct \
		conv=notrunc,fsync status=none
	detach_left
	attach "$1"
}

# row_make ROW mapped|fresh: the top of a chain is fresh always.
row_make()
{
	local kind place

	kind=$(kind_of "$1")
	place=$(place_of "$1")
	SIZE_MIB=$(size_of "$1")
	BELOW=()
	place_make "$place"
	case $1 in
	*-ext-chain1) extended_make "$(options_of "$1")" ;;
	*-chain*|*-overlays) chain_make "$(depth_of "$1")" ;;
	*-zlib) zlib_image_make ;;
	*-8g) mapped_image_make ;;
	*-data) data_file_make ;;
	*) image_make "$kind" "$(options_of "$1")" ;;
	esac
	[[ $1 != *-bitmap ]] || run qemu-img bitmap --add -f qcow2 "$IMAGE" one
	attach "$kind"
	case $1/$2 in
	*/fresh|*-8g/*|*-64g/*|*-chain*|*-overlays/*|*-zlib/*) ;;
	*) fill "$kind" ;;
	esac
}

row_remove()
{
	detach_left
	others_remove
	! mountpoint -q "$IMAGE_MNT" || run umount "$IMAGE_MNT"
}
