# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# Images, their mapped devices, and what QEMU says about them. Sourced after tests/lib/test.sh.
#
# A test keeps a mirror: a raw file with what the image should hold. Content comes from $NOISE, so that no
# two places look alike.

qcow2_devices=0
NOISE=$TMP/noise

# new_image FILE SIZE [OPTIONS]: create it with qemu-img; OPTIONS as for its -o.
new_image()
{
	run qemu-img create -q -f qcow2 ${3:+-o "$3"} "$1" "$2"
}

# new_mirror FILE BYTES: a raw file of zeros.
new_mirror()
{
	rm -f "$1"
	run truncate -s "$2" "$1"
}

# Where a machine is emulated, to start a program costs more than most of them do: what is called often leaves to bash
# what bash can do.

# be64 FILE OFFSET: the big-endian number there.
be64()
{
	big_endian "$1" "$2" 8
}

# be32 FILE OFFSET
be32()
{
	big_endian "$1" "$2" 4
}

# big_endian FILE OFFSET BYTES
big_endian()
{
	local number

	read -r number < <(exec od -An "-tu$3" --endian=big -j "$2" -N "$3" "$1")
	echo "$number"
}

# put_bytes FILE OFFSET HEX: change an image by hand.
put_bytes()
{
	local bytes='' k

	for ((k = 0; k < ${#3}; k += 2)); do
		bytes+="\\x${3:k:2}"
	done
	# shellcheck disable=SC2059 # the format is the bytes
	printf "$bytes" |
		dd of="$1" bs=4096 seek="$2" oflag=seek_bytes conv=notrunc status=none || fail "cannot change $1"
}

# put_be64 FILE OFFSET NUMBER
put_be64()
{
	put_bytes "$1" "$2" "$(printf %016x "$3")"
}

# put_be32 FILE OFFSET NUMBER
put_be32()
{
	put_bytes "$1" "$2" "$(printf %08x "$3")"
}

# The virtual size that the header gives, in sectors; without QEMU, whose start takes long when emulated.
image_sectors()
{
	echo $(($(be64 "$1" 24) / 512))
}

# qcow2_table IMAGE [FEATURE...]: a table line.
qcow2_table()
{
	local image=$1
	shift

	echo "0 $(image_sectors "$image") qcow2 $image${*:+ features $# $*}"
}

# attach_chain WORD... TOP [features ...]: map a chain; the words are those of the table line, from the bottom up. Sets DEV.
attach_chain()
{
	local name=$NAME-q$((++qcow2_devices)) layers="$*" top

	layers=${layers%% features *}
	top=${layers##* }
	run dmsetup create "$name" --table "0 $(image_sectors "$top") qcow2 $*"
	cleanup remove_left "$name"
	DEV=/dev/mapper/$name
}

# attach IMAGE [--readonly] [FEATURE...]: map the image; sets DEV.
attach()
{
	local image=$1 name=$NAME-q$((++qcow2_devices)) mode=
	shift

	if [ "${1:-}" = --readonly ]; then
		mode=$1
		shift
	fi
	# shellcheck disable=SC2086 # no mode, no word
	run dmsetup create "$name" $mode --table "$(qcow2_table "$image" "$@")"
	cleanup remove_left "$name"
	DEV=/dev/mapper/$name
}

remove_left()
{
	[ ! -e "/dev/mapper/$1" ] || dmsetup remove --retry "$1"
}

# log_from_here, log_since: what the kernel has said in between; earlier tests have made it talk, too.
log_from_here()
{
	log_mark="vblk-test: from here $RANDOM$RANDOM"
	echo "$log_mark" >/dev/kmsg
}

log_since()
{
	dmesg | awk -v mark="$log_mark" 'seen; index($0, mark) { seen = 1 }'
}

# refused REGEX IMAGE [--readonly]: attaching fails, and the kernel's log says why in one line. Device-mapper
# has "table: 254:0: qcow2: REASON" for it.
refused()
{
	local regex=$1 image=$2 name=$NAME-refused
	shift 2

	log_from_here
	if dmsetup create "$name" "$@" --table "$(qcow2_table "$image")" 2>"$TMP/refused"; then
		dmsetup remove --retry "$name"
		fail "$image: attached, though it should be refused: $regex"
	fi
	! dmsetup info "$name" >/dev/null 2>&1 || fail "a device was left behind"
	log_since | tee "$TMP/refused"
	grep -q -i -E "qcow2: .*($regex)" "$TMP/refused" || fail "refused without saying: $regex"
}

# detach [DEVICE]: the latest one unless told.
detach()
{
	local device=${1:-$DEV}

	run dmsetup remove --retry "${device##*/}"
}

# check_image IMAGE: neither an error nor a leak.
check_image()
{
	run qemu-img check -q -f qcow2 "$1"
}

# same_as_mirror MIRROR IMAGE: as QEMU reads it.
same_as_mirror()
{
	run qemu-img compare -q -f raw -F qcow2 "$1" "$2"
}

# detach_and_verify MIRROR IMAGE: detach, and let QEMU look at what is left.
detach_and_verify()
{
	detach
	check_image "$2"
	same_as_mirror "$1" "$2"
}

# make_noise MIB
make_noise()
{
	noise_bytes=$(($1 << 20))
	run dd if=/dev/urandom of="$NOISE" bs=1M count="$1" status=none
}

# put_noise FILE OFFSET BYTES [FLAG]: the noise of that offset; FLAG: an oflag of dd (direct, dsync).
put_noise()
{
	local from=$(($2 % (noise_bytes - $3 + 1) / 512 * 512))

	run dd if="$NOISE" of="$1" bs="$3" count=1 skip=$from seek="$2" iflag=skip_bytes,fullblock \
		oflag="seek_bytes${4:+,$4}" conv=notrunc status=none
}

# put_both OFFSET BYTES MIRROR: through the device, and into the mirror.
put_both()
{
	put_noise "$DEV" "$1" "$2" direct
	put_noise "$3" "$1" "$2"
}

# same_through_device MIRROR: as the device reads it.
same_through_device()
{
	run blockdev --flushbufs "$DEV"
	run cmp "$1" "$DEV"
}

# qcow2_status [DEVICE]: what the target says about itself.
qcow2_status()
{
	dmsetup status "$(basename "${1:-$DEV}")" | cut -d ' ' -f 4-
}

# place_for_image ext4|xfs|device MIB: sets IMAGE to a file on a fresh file system, or to a device.
place_for_image()
{
	if [ "$1" = device ]; then
		scratch_dev "$2"
		IMAGE=$SCRATCH_DEV
	else
		scratch_fs "$1" "$2"
		IMAGE=$SCRATCH_MNT/image.qcow2
	fi
}

# attach_descriptor IMAGE: the same by a descriptor of dmsetup's caller.
attach_descriptor()
{
	local name=$NAME-q$((++qcow2_devices)) fd

	exec {fd}<>"$1"
	run dmsetup create "$name" --table "0 $(image_sectors "$1") qcow2 $fd"
	exec {fd}>&-
	cleanup remove_left "$name"
	DEV=/dev/mapper/$name
}

# attach_quietly IMAGE: by descriptor; fails instead of failing the test, and leaves nothing.
attach_quietly()
{
	(exec {fd}<>"$1" && dmsetup create "$NAME-quiet" --table "0 $(image_sectors "$1") qcow2 $fd") &&
		dmsetup remove --retry "$NAME-quiet"
}

# qemu_holds IMAGE: a QEMU has it open for writing until qemu_lets_go.
qemu_holds()
{
	mkfifo "$TMP/qemu-io.in"
	qemu-io -f qcow2 "$1" <"$TMP/qemu-io.in" >"$TMP/qemu-io.out" &
	qemu_holder=$!
	exec {qemu_holder_in}>"$TMP/qemu-io.in"
	echo 'write -q 0 0' >&"$qemu_holder_in"
	wait_until 30 grep -q qemu-io "$TMP/qemu-io.out"
}

qemu_lets_go()
{
	exec {qemu_holder_in}>&-
	wait "$qemu_holder"
	rm "$TMP/qemu-io.in"
}

# sync_device: FLUSH; its exit status is the device's answer.
sync_device()
{
	dd of="$DEV" if=/dev/null count=0 oflag=direct conv=notrunc,fsync status=none
}

# put_quietly OFFSET: one block of noise; its exit status is the device's answer.
put_quietly()
{
	dd if="$NOISE" of="$DEV" bs=4096 count=1 seek="$1" oflag=direct,seek_bytes conv=notrunc status=none
}

# flaky_device MIB: sets FLAKY to a fresh device; writes to it can be made to fail, reads pass.
flaky_device()
{
	scratch_dev "$1"
	FLAKY=/dev/mapper/$NAME-flaky
	flaky_sectors=$(blockdev --getsz "$SCRATCH_DEV")
	run dmsetup create "$NAME-flaky" --table "0 $flaky_sectors linear $SCRATCH_DEV 0"
	cleanup dmsetup remove --retry "$NAME-flaky"
}

# Never up, always down.
writes_fail()
{
	flaky_becomes "flakey $SCRATCH_DEV 0 0 100 1 error_writes"
}

writes_pass()
{
	flaky_becomes "linear $SCRATCH_DEV 0"
}

flaky_becomes()
{
	run dmsetup load "$FLAKY" --table "0 $flaky_sectors $1"
	run dmsetup suspend --nolockfs --noflush "$FLAKY"
	run dmsetup resume "$FLAKY"
}

# Leases of the blocks of a file: see Documentation/dm-qcow2.rst.

# leased: does I/O on blocks that are known go past the file system?
leased()
{
	[ "$(qcow2_status | cut -d ' ' -f 8)" != - ]
}

# leases_end_after SECONDS: of leases that are taken from now on, until the test ends: how long there may be no I/O; 0: for
# ever, as an emulated machine takes its time between two commands.
leases_end_after()
{
	set_parameter lease_idle_secs "$1"
}

declare -A parameters_set

# set_parameter NAME VALUE: of the module, until the test ends.
set_parameter()
{
	local file=/sys/module/dm_qcow2/parameters/$1

	[ -n "${parameters_set[$1]:-}" ] || cleanup put_parameter "$file" "$(<"$file")"
	parameters_set[$1]=yes
	put_parameter "$file" "$2"
}

put_parameter()
{
	echo "$2" >"$1" || fail "no parameter $1"
}

# fs_calls COMMAND...: set FS_CALLS to how often file systems do direct I/O while it runs.
fs_calls()
{
	local trace=/sys/kernel/tracing/instances/$NAME

	if [ ! -d "$trace" ]; then
		# Names of commands are not needed, and would have the scheduler patched each time, which emulated processors
		# do not always see in time.
		echo 0 >/sys/kernel/tracing/options/record-cmd
		run mkdir "$trace"
		cleanup rmdir "$trace"
	fi
	: >"$trace/trace"
	echo 1 >"$trace/events/iomap/iomap_dio_rw_begin/enable" || fail "no tracepoint"
	"$@"
	echo 0 >"$trace/events/iomap/iomap_dio_rw_begin/enable"
	FS_CALLS=$(grep -c iomap_dio_rw_begin: "$trace/trace")
}

# lease_by_reading BYTES: read the first so many bytes of the device until all of their blocks are leased.
lease_by_reading()
{
	leases_end_after 0
	wait_until 30 reads_leased "$1"
}

reads_leased()
{
	fs_calls run dd if="$DEV" of=/dev/null bs="$1" count=1 iflag=direct status=none
	leased && [ "$FS_CALLS" = 0 ]
}

# Whether the device writes to blocks of other files.

# fill_host: what is free belongs to another file then, but for 8 MiB.
fill_host()
{
	dd if="$NOISE" of="$SCRATCH_MNT/canary" bs=1M count=1000 status=none 2>/dev/null
	while cat "$NOISE" >>"$SCRATCH_MNT/canary"; do :; done 2>/dev/null
	run truncate -s -8M "$SCRATCH_MNT/canary"
	run sync -f "$SCRATCH_MNT"
	canary=$(sha256sum <"$SCRATCH_MNT/canary")
}

# host_is_unharmed WHAT: by what is on disk.
host_is_unharmed()
{
	echo 3 >/proc/sys/vm/drop_caches
	[ "$(sha256sum <"$SCRATCH_MNT/canary")" = "$canary" ] || fail "$1: another file's blocks were written to"
	run rm "$SCRATCH_MNT/canary"
}

# fill_with_noise SIZE MIRROR: all of the device; durable, and all blocks of it are written.
fill_with_noise()
{
	make_noise "$1"
	run dd if="$NOISE" of="$DEV" bs=1M oflag=direct conv=notrunc,fsync status=none
	run cp "$NOISE" "$2"
}

# first_write_passes MIRROR: write 4 KiB into a cluster that was never written to; fails if file systems have done direct
# I/O meanwhile. NEXT is the cluster: the first one is 1001, and they are allocated one after the other.
first_write_passes()
{
	fs_calls put_next "$1"
	[ "$FS_CALLS" = 0 ]
}

# put_next MIRROR: the write, at another place in each cluster: NEXT_AT.
put_next()
{
	NEXT=$((${NEXT:-1000} + 1))
	NEXT_AT=$((NEXT * 65536 + 4096 * (NEXT % 16)))
	put_both $NEXT_AT 4096 "$1"
}

# A host without space.

# use_up_host: the file system has none left. make_space: it has again.
use_up_host()
{
	local bytes=$((32 << 20))

	cleanup make_space
	while [ $bytes -ge 4096 ]; do
		dd if=/dev/zero of="$SCRATCH_MNT/filler" bs=$bytes count=1 oflag=append conv=notrunc,fsync status=none 2>/dev/null ||
			bytes=$((bytes / 2))
	done
}

make_space()
{
	rm -f "$SCRATCH_MNT/filler"
	sync -f "$SCRATCH_MNT"
}

# writes_wait_for SECONDS: how long writes wait for space, until the test ends; 0: for ever.
writes_wait_for()
{
	set_parameter no_space_timeout_secs "$1"
}

# is_waiting: does a write wait for space?
is_waiting()
{
	[ "$(qcow2_status | cut -d ' ' -f 4)" != 0 ]
}
