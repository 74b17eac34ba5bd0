# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# A power cut at many points of one workload. Sourced after tests/lib/test.sh and tests/dm-qcow2/lib.sh.
#
#	crash-writer ──► /dev/mapper/X (dm-qcow2) ──► [file system ──►] dm-log-writes ──► DATA
#	                                                                     └──► LOG
#	LOG + copies of DATA ──► crash-replay: a state for each cut and each subset of what was not flushed;
#	                         QEMU and the journal of crash-writer judge it

# ram_disk NAME MIB: sets RAM_DISK to a disk in memory that no flush reaches: every write completes at once, and
# what is left out by the module's flushes is seen in the log alone.
ram_disk()
{
	local dir=/sys/kernel/config/nullb/$NAME-$1

	if [ ! -d /sys/module/null_blk ]; then
		run modprobe null_blk nr_devices=0
	fi
	if ! mountpoint -q /sys/kernel/config; then
		run mount -t configfs configfs /sys/kernel/config
	fi
	run mkdir "$dir"
	cleanup rmdir "$dir"
	echo "$2" >"$dir/size"
	echo 1 >"$dir/memory_backed"
	echo 0 >"$dir/irqmode"
	echo 1 >"$dir/power"
	RAM_DISK=/dev/$NAME-$1
	wait_until 10 test -b "$RAM_DISK"
}

# crash_disks MIB: sets DATA and LOG.
crash_disks()
{
	requires crash-writer crash-replay qemu-img qemu-io
	requires_module dm-log-writes
	ram_disk log 2048
	LOG=$RAM_DISK
	ram_disk data "$1"
	DATA=$RAM_DISK
}

# crash_old_contents: the disk is full of a pattern that nobody may ever see.
crash_old_contents()
{
	tr "\\0" "\\252" </dev/zero |
		dd of="$DATA" bs=1M count=$(($(blockdev --getsize64 "$DATA") >> 20)) iflag=fullblock oflag=direct status=none
}

# crash_record: from here on everything written to LOGGED is in the log. The replay starts from what is there now.
crash_record()
{
	sync
	run dd if="$DATA" of="$TMP/start" bs=1M iflag=direct conv=sparse status=none
	run dmsetup create "$NAME-log" --table "0 $(blockdev --getsz "$DATA") log-writes $DATA $LOG"
	cleanup remove_left "$NAME-log"
	LOGGED=/dev/mapper/$NAME-log
	crash_mark start
}

# crash_write ARG...: the workload on $DEV; arguments as for crash-writer.
crash_write()
{
	run crash-writer --log "$NAME-log" "$@" "$DEV" "$TMP/journal"
}

# crash_recorded: nothing more is written to LOGGED.
crash_recorded()
{
	run dmsetup remove --retry "$NAME-log"
	crash-replay list "$LOG" | awk '{ count[$2]++ } END { for (kind in count) print "log:", count[kind], kind }'
}

# crash_leak_limit SIZE [OPTIONS]: sets LEAK_LIMIT, the clusters that a power cut may leak in an image of that virtual
# size. The module prepares clusters in steps of an eighth of the image when less than half a step is left, so one and
# a half are ready at most; the rest is for what was handed out since the last flush.
crash_leak_limit()
{
	local cluster=65536

	[[ ${2:-} != *cluster_size=* ]] || cluster=$(sed -E 's/.*cluster_size=([0-9]+).*/\1/' <<<"$2")
	LEAK_LIMIT=$(($(numfmt --from=iec "$1") * 3 / (8 * cluster)))
}

# crash_replay ARG...: as for crash-replay verify; exit status 0 when no state is wrong.
crash_replay()
{
	local targets=("$TMP/target0" "$TMP/target1")

	run cp --sparse=always "$TMP/start" "${targets[0]}"
	run cp --sparse=always "$TMP/start" "${targets[1]}"
	crash-replay --warm "$VBLK_BUILD/tests/crash-warm.so" --max-leak "$LEAK_LIMIT" "$@" verify "$LOG" "$TMP/journal" "${targets[@]}"
}

# without_udev COMMAND...: run it while udev looks at no device. Each state of a disk is two events, whose handling takes as
# long as the state's check.
without_udev()
{
	local status

	cleanup udevadm control --start-exec-queue
	run udevadm control --stop-exec-queue
	"$@"
	status=$?
	run udevadm control --start-exec-queue
	return $status
}

# crash_replay_fs TYPE IMAGE-NAME ARG...: the same where the image is a file; recovery needs devices to work on. XFS does
# not replay a block of metadata whose header is new, so it does not mount what has a part of one.
crash_replay_fs()
{
	local targets=() unit=1 n

	[ "$1" != xfs ] || unit=8
	for n in 0 1; do
		ram_disk "target$n" $(($(blockdev --getsize64 "$DATA") >> 20))
		run dd if="$TMP/start" of="$RAM_DISK" bs=1M oflag=direct conv=sparse status=none
		targets+=("$RAM_DISK")
		ram_disk "cow$n" 256
		targets[n]+=,$RAM_DISK
	done
	requires_module dm-snapshot
	without_udev crash-replay --warm "$VBLK_BUILD/tests/crash-warm.so" --max-leak "$LEAK_LIMIT" \
		--fs "$1" --image "$2" --unit $unit "${@:3}" verify "$LOG" "$TMP/journal" "${targets[@]}"
}

# crash_on_device SIZE OPTIONS QEMU-IO-COMMAND...: begin the recording of an image on the bare device.
crash_on_device()
{
	local commands=() command

	crash_old_contents
	crash_leak_limit "$1" "$2"
	new_image "$DATA" "$1" "$2"
	for command in "${@:3}"; do
		commands+=(-c "$command")
	done
	[ $# = 2 ] || run qemu-io -f qcow2 "${commands[@]}" "$DATA"
	crash_record
	attach "$LOGGED" ${CRASH_DISCARD:+"discard=$CRASH_DISCARD"}
}

# crash_on_overlay SIZE OPTIONS BASE-BYTES BASE-FORMAT: the same for an overlay on a base that has a stamp in each of its
# sectors; what a shorter base does not cover reads as zeros. Sets STAMPED, what crash_replay is to be told. Needs
# tests/dm-qcow2/chain.sh.
crash_on_overlay()
{
	local base=$TMP/base.$4

	STAMPED=$(($3 / 512))
	crash_old_contents
	crash_leak_limit "$1" "$2"
	# No entry points at a cluster before it is whole: up to 16 MiB, in 256 clusters, may be on the way to that.
	LEAK_LIMIT=$((LEAK_LIMIT + 256))
	run crash-replay stamp "$TMP/base.raw" $STAMPED
	[ "$4" = raw ] || run qemu-img convert -f raw -O "$4" -o cluster_size=8192 "$TMP/base.raw" "$base"
	overlay_image "$DATA" "$base" "$4" "$1" "$2"
	fingerprint "$base"
	crash_record
	attach_chain "format:$4" "$base" "$LOGGED" ${CRASH_DISCARD:+features 1 "discard=$CRASH_DISCARD"}
}

# crash_on_fs TYPE SIZE OPTIONS: the same for an image in a file; the log has the file system's own writes, too.
crash_on_fs()
{
	run "mkfs.$1" -q "$DATA"
	mkdir "$TMP/fs"
	run mount -t "$1" "$DATA" "$TMP/fs"
	crash_leak_limit "$2" "$3"
	new_image "$TMP/fs/image.qcow2" "$2" "$3"
	run umount "$TMP/fs"
	crash_record
	run mount -t "$1" "$LOGGED" "$TMP/fs"
	cleanup umount_left "$TMP/fs"
	attach "$TMP/fs/image.qcow2" ${CRASH_DISCARD:+"discard=$CRASH_DISCARD"}
}

umount_left()
{
	! mountpoint -q "$1" || umount "$1"
}

# crash_state MARK FILE: what was durable at that mark and no more.
crash_state()
{
	local end

	end=$(crash-replay list "$LOG" | awk -v mark="$1" "\$2 == \"mark\" && \$NF == mark { print \$1 }")
	run cp --sparse=always "$TMP/start" "$2"
	run crash-replay apply "$LOG" "$2" "$end"
}

# crash_mark TEXT
crash_mark()
{
	run dmsetup message "$NAME-log" 0 mark "$1"
}

# crash_end: detach, and the recording is complete.
crash_end()
{
	detach
	crash_recorded
}

# The workloads on the bare device that are known to need every barrier of the module.

# Fresh clusters on a disk full of old data.
record_fresh_clusters()
{
	crash_on_device 24M cluster_size=65536
	crash_write --ops 800 --max-bytes 131072 "$@"
	crash_end
}

# A refcount block counts 32 KiB, and the refcount table has to grow every 2 MiB.
record_growing_tables()
{
	crash_on_device 4M cluster_size=512,refcount_bits=64
	crash_write --ops 500 --max-bytes 16384 "$@"
	crash_end
}

# The same with few flushes, each of which would make the refcount table durable, too: clusters are in use soon after
# their refcount block is.
record_growing_tables_unflushed()
{
	record_growing_tables --flush-percent 1 --fua-percent 0 "$@"
}

# Every cluster is full of old data in the image itself: half of them are free, the others belong to zero clusters.
record_reused_clusters()
{
	crash_on_device 16M cluster_size=16384 'write -q -P 0xee 0 16M' 'discard -q 0 8M' 'write -q -z 8M 8M'
	# Each that a zero cluster keeps may be on its way to become free, for as long as a grace period takes.
	LEAK_LIMIT=$((LEAK_LIMIT + 512))
	crash_write --ops 600 --max-bytes 65536 "$@"
	crash_end
}

# The same with discards and zeroes, as CRASH_DISCARD has it: clusters are let go of, given back and used again, or kept and
# written again.
record_discards()
{
	crash_on_device 16M cluster_size=16384 'write -q -P 0xee 0 16M' 'discard -q 0 8M' 'write -q -z 8M 8M'
	LEAK_LIMIT=$((LEAK_LIMIT + 1024))
	crash_write --ops 600 --max-bytes 65536 --unmap-percent 25 --unmap-bytes 16384 "$@"
	crash_end
}

# The same with few flushes: what is discarded is let go of while many entries are not durable.
record_discards_unflushed()
{
	record_discards --unmap-percent 40 --flush-percent 2 --fua-percent 0 "$@"
}

# The same while it is frozen and thawed again and again: what is let go of is kept, and dropped at each thaw.
record_frozen()
{
	local writer count=0

	crash_on_device 16M cluster_size=16384 'write -q -P 0xee 0 16M' 'discard -q 0 8M' 'write -q -z 8M 8M'
	LEAK_LIMIT=$((LEAK_LIMIT + 2048))
	crash_write --ops 12000 --max-bytes 32768 --unmap-percent 15 --unmap-bytes 16384 "$@" &
	writer=$!
	while kill -0 $writer 2>/dev/null; do
		run dmsetup message "$DEV" 0 freeze
		run dmsetup message "$DEV" 0 thaw
		count=$((count + 1))
	done
	wait $writer || fail 'the writer failed'
	((count > 2)) || fail "frozen $count times only"
	crash_end
}

# And over a base, which covers half of the disk and is not to show where something was discarded.
record_overlay_discards()
{
	crash_on_overlay 16M cluster_size=16384 $((8 << 20)) raw
	LEAK_LIMIT=$((LEAK_LIMIT + 1024))
	crash_write --ops 600 --max-bytes 24576 --unmap-percent 25 --unmap-bytes 16384 --fua-percent 20 "$@"
	crash_end
}

# Every cluster is called shared, by a refcount of 2 and an entry without COPIED, as an internal snapshot would leave it
# but for the snapshot: each write copies. What the guest's disk holds is 0xee.
record_copied_clusters()
{
	crash_old_contents
	crash_leak_limit 16M cluster_size=16384
	new_image "$DATA" 16M cluster_size=16384
	run qemu-io -f qcow2 -c 'write -q -P 0xee 0 16M' "$DATA"
	# What is called shared and is not counts as leaked.
	share_clusters 1024 14
	LEAK_LIMIT=$((LEAK_LIMIT + 1024))
	crash_record
	attach "$LOGGED"
	crash_write --ops 600 --max-bytes 65536 "$@"
	crash_end
}

# The same with few flushes, each of which would make entries durable, too: clusters are let go of while entries that do so
# are not.
record_copied_clusters_unflushed()
{
	record_copied_clusters --flush-percent 2 --fua-percent 0 "$@"
}

# The log begins before the image is made, of a disk that is full of 0xee, and qemu-img leaves it to others to flush what it
# wrote. Then there are FUA writes in place, and no flush but by the detach.
record_unflushed_image()
{
	crash_old_contents
	crash_leak_limit 16M
	tr "\\0" "\\356" </dev/zero | dd of="$TMP/raw" bs=1M count=16 iflag=fullblock status=none
	crash_record
	run qemu-img convert -f raw -O qcow2 "$TMP/raw" "$LOGGED"
	attach "$LOGGED"
	crash_mark attached
	crash_write --ops 100 --flush-percent 0 --fua-percent 100 --max-bytes 32768 "$@"
	crash_end
}

# Fresh clusters over a base that is full: writes of parts of clusters, neighbours in the same cluster at the same time,
# and flushes while the rest of a cluster has yet to come from below.
record_overlay_in_part()
{
	crash_on_overlay 16M cluster_size=65536 $((16 << 20)) raw
	crash_write --ops 600 --max-bytes 24576 "$@"
	crash_end
}

# Writes of whole clusters, and of several, for which nothing is copied.
record_overlay_in_whole()
{
	crash_on_overlay 24M cluster_size=16384 $((24 << 20)) raw
	crash_write --ops 500 --align 16384 --max-bytes 131072 "$@"
	crash_end
}

# Every cluster is compressed, and shares host clusters with its neighbours: writes of parts inflate and copy, writes of whole
# ones do not, and what they let go of is freed when its last neighbour has been written. Sets STAMPED; to be replayed with
# --whole 1.
record_compressed()
{
	STAMPED=8192
	crash_old_contents
	crash_leak_limit 4M cluster_size=16384
	# What is on its way to be whole, and what was let go of and is not free yet: each at most all clusters there are.
	LEAK_LIMIT=$((LEAK_LIMIT + 512))
	run crash-replay stamp "$TMP/base.raw" $STAMPED
	run qemu-img convert -c -f raw -O qcow2 -o cluster_size=16384 "$TMP/base.raw" "$DATA"
	crash_record
	attach "$LOGGED"
	crash_write --ops 500 --max-bytes 24576 "$@"
	crash_end
}

# Large clusters, which take longest to be copied; the base has other clusters, and ends in the middle of one.
record_overlay_on_shorter_base()
{
	crash_on_overlay 16M cluster_size=262144 $(((12 << 20) - 40 * 512)) qcow2
	crash_write --ops 500 --max-bytes 65536 --fua-percent 15 "$@"
	crash_end
}

# Subclusters over a base that is full, in fresh clusters.
record_subclusters()
{
	crash_on_overlay 16M extended_l2=on,cluster_size=131072 $((16 << 20)) raw
	crash_write --ops 600 --max-bytes 24576 "$@"
	crash_end
}

# In clusters that are reserved for them, and hold what the disk had before.
record_reserved_subclusters()
{
	crash_on_overlay 16M extended_l2=on,cluster_size=131072,preallocation=metadata $((16 << 20)) raw
	crash_write --ops 600 --max-bytes 24576 "$@"
	crash_end
}

# Nothing is flushed: what a FUA write says is durable has to be so with the rest of its cluster.
record_overlay_by_fua()
{
	crash_on_overlay 16M cluster_size=65536 $((16 << 20)) raw
	crash_write --ops 500 --max-bytes 16384 --flush-percent 0 --fua-percent 20 "$@"
	crash_end
}

# The image is in the first 16 MiB of the disk, and its data file behind it, with what the disk held before: writes of parts of
# clusters, neighbours in the same cluster, and flushes. To be replayed with $SPLIT.
# CRASH_DISCARD is what becomes of discards, of which there are none without arguments.
record_data_file()
{
	crash_old_contents
	crash_leak_limit 16M cluster_size=65536
	SPLIT="--whole 1 --data-at $((16 << 20))"
	crash_parts "$DATA"
	run qemu-img create -q -f qcow2 -o "cluster_size=65536,data_file=$DATA_PART" "$IMAGE_PART" 16M
	crash_no_parts
	crash_record
	crash_parts "$LOGGED"
	attach_chain "data:$DATA_PART" "$IMAGE_PART" ${CRASH_DISCARD:+features 1 "discard=$CRASH_DISCARD"}
	crash_write --ops 600 --max-bytes 24576 "$@"
	detach
	crash_no_parts
	crash_recorded
}

# The data file is all of the disk, raw, and the image elsewhere, so that nothing but its own flushes makes it durable. To be
# replayed with $SPLIT: whoever reads it, by the image or alone.
record_raw_data_file()
{
	LEAK_LIMIT=0
	run qemu-img create -q -f qcow2 -o "cluster_size=65536,data_file=$DATA,data_file_raw=on" "$TMP/shell.qcow2" 16M
	# QEMU clears the first sector.
	crash_old_contents
	SPLIT="--whole 1 --old 170 --shell $TMP/shell.qcow2"
	crash_record
	attach_chain "data:$LOGGED" "$TMP/shell.qcow2"
	crash_write --ops 600 --max-bytes 65536 "$@"
	crash_end
}

# crash_parts DISK: sets IMAGE_PART and DATA_PART.
crash_parts()
{
	IMAGE_PART=/dev/mapper/$NAME-image
	DATA_PART=/dev/mapper/$NAME-data
	run dmsetup create "$NAME-image" --table "0 32768 linear $1 0"
	cleanup remove_left "$NAME-image"
	run dmsetup create "$NAME-data" --table "0 32768 linear $1 32768"
	cleanup remove_left "$NAME-data"
}

crash_no_parts()
{
	run dmsetup remove --retry "$NAME-image"
	run dmsetup remove --retry "$NAME-data"
}

# share_clusters COUNT CLUSTER-BITS: those that the first COUNT entries of the first L2 table point at, which lie behind
# each other.
share_clusters()
{
	local count=$1 bits=$2 l2 refblock first

	l2=$(($(be64 "$DATA" "$(be64 "$DATA" 40)") & ~(1 << 63)))
	refblock=$(be64 "$DATA" "$(be64 "$DATA" 48)")
	first=$((($(be64 "$DATA" $l2) & ~(1 << 63)) >> bits))
	[ $(((first + count - 1) << bits | 1 << 63)) = "$(od -An -td8 --endian=big -j $((l2 + 8 * (count - 1))) -N 8 "$DATA" | tr -d ' ')" ] ||
		fail "clusters in pieces"
	put_bytes "$DATA" $l2 "$(seq "$first" $((first + count - 1)) | while read -r n; do printf %016x $((n << bits)); done)"
	put_bytes "$DATA" $((refblock + 2 * first)) "$(for ((n = 0; n < count; n++)); do printf 0002; done)"
	expect_rc 3 qemu-img check -q -f qcow2 "$DATA"
}

# keeps_autoclear: whether a bit that was cleared by attach comes back when the power is cut after it.
keeps_autoclear()
{
	crash_old_contents
	new_image "$DATA" 8M
	put_be64 "$DATA" 88 $((1 << 40))
	crash_record
	attach "$LOGGED"
	crash_mark attached
	crash_end
	crash_state attached "$TMP/state"
	[ "$(be64 "$TMP/state" 88)" != 0 ]
}

# loses_detach: whether an image that was detached cleanly has leaks or errors when the power is cut after it.
loses_detach()
{
	crash_on_device 24M cluster_size=65536
	crash_write --ops 50
	detach
	crash_mark detached
	crash_recorded
	crash_state detached "$TMP/state"
	! qemu-img check -f qcow2 "$TMP/state"
}

# bitmap_part SEED ARG...: some writes, from which on other regions may be the ones that are changed.
bitmap_part()
{
	crash_write --ops 15 --max-bytes 65536 --fua-percent 30 --unmap-percent 10 --unmap-bytes 65536 --seed "$@"
}

# An image with bitmaps, that is suspended, frozen, and used for a backup, in which the bits before the instant are. Sets
# BACKED_UP to a mark behind that, and $TMP/backup to the disk of it.
record_bitmaps()
{
	crash_on_device 128M cluster_size=4096 'write -q -P 0xee 0 8M'
	detach
	crash_recorded
	run qemu-img bitmap --add -g 512 "$DATA" one
	run qemu-img bitmap --add -g 65536 "$DATA" two
	crash_record
	attach "$LOGGED" discard=unmap
	bitmap_part 1 "$@"
	run dmsetup suspend "$DEV"
	run dmsetup resume "$DEV"
	bitmap_part 2 "$@"
	freeze
	bitmap_part 3 "$@"
	run dd if="$VIEW" of="$TMP/backup" bs=1M conv=sparse iflag=direct status=none
	run dmsetup message "$VIEW" 0 used one
	thaw
	BACKED_UP=backed-up
	crash_mark $BACKED_UP
	bitmap_part 4 "$@"
	crash_end
}

# bitmap_survives ENTRIES: at that cut.
bitmap_survives()
{
	local base=$TMP/first

	run cp --sparse=always "$TMP/start" "$TMP/state"
	run crash-replay apply "$LOG" "$TMP/state" "$1"
	expect_check "$TMP/state"
	run qemu-img convert -f qcow2 -O raw "$TMP/state" "$TMP/now"
	# From the mark on it may have less: what is in the backup.
	(($1 <= used_at)) || base=$TMP/backup
	run cp --sparse=always "$base" "$TMP/restored"
	# Each region that was changed since the last suspend, or in the start.
	add_up $((128 << 20)) "$TMP/state" one "$TMP/restored" "$TMP/now"
	cmp "$TMP/now" "$TMP/restored"
}

# expect_check IMAGE: leaks at most.
expect_check()
{
	local status=0

	qemu-img check -q -f qcow2 "$1" || status=$?
	[ $status = 0 ] || [ $status = 3 ] || fail "the image is damaged"
}

# bitmaps_survive CUTS: after record_bitmaps. Returns 1 where one does not.
bitmaps_survive()
{
	local entries n

	entries=$(crash-replay list "$LOG" | tail -n 1 | awk '{ print $1 }')
	used_at=$(crash-replay list "$LOG" | awk -v mark="$BACKED_UP" '$2 == "mark" && $NF == mark { print $1 }')
	run qemu-img convert -f qcow2 -O raw "$TMP/start" "$TMP/first"
	for ((n = 1; n <= $1; n++)); do
		bitmap_survives $((entries * n / $1)) || return 1
	done
	# Detached, it says what has changed since the instant, and no more.
	bitmap_survives "$entries" || return 1
	echo "the bitmap says $ADDED bytes in the end"
	((ADDED <= 2 * 15 * (65536 + 1024))) || fail 'the bitmap is not exact'
}

# loses_bits: whether a bitmap lacks something that had changed when the power was cut. A FUA write is in the log at once, what
# nobody flushed later: until then, which is a few entries after the first change of a region.
loses_bits()
{
	record_bitmaps --fua-percent 90
	! bitmaps_survive 120
}
