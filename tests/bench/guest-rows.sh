# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# The rows in a nested guest: guest-BACK-END-DISK[-SETTING], all of them disks of one guest with one CPU, or with
# GUEST_CPUS and as many queues.
#
#     BACK-END  virtio  QEMU's own virtio-blk, in an I/O thread; "-poll": which looks for requests before it sleeps, as
#                       it does by default
#               vhost   vhost_blk; "-batch": whose worker has the policy SCHED_BATCH
#     DISK      ram     a RAM disk       qcow2-xfs  an image in a file on XFS; through dm-qcow2 for vhost
#               qcow2-xfs-chain8    an overlay without data over eight images, which all such rows share
#
# Sourced after tests/bench/rows.sh; guest_fio needs tests/bench/events.sh.

GUEST_MIB=80
GUEST_CPUS=${GUEST_CPUS:-1}
RAM_MIB=576
declare -A guest_disk_of
declare -A guest_serial=(
	[guest-virtio-ram]=d1 [guest-virtio-ram-poll]=d2 [guest-vhost-ram]=ram3
	[guest-virtio-qcow2-xfs]=d4 [guest-virtio-qcow2-xfs-poll]=d5 [guest-vhost-qcow2-xfs]=d6
	[guest-vhost-ram-batch]=ram4 [guest-vhost-qcow2-xfs-batch]=d7
	[guest-virtio-qcow2-xfs-chain8]=d8 [guest-virtio-qcow2-xfs-chain8-poll]=d9
	[guest-vhost-qcow2-xfs-chain8]=d10 [guest-vhost-qcow2-xfs-chain8-batch]=d11
)

# guest_rows_begin: all that a measurement needs.
guest_rows_begin()
{
	guest_rows_prepare
	guest_needs
	[ -w /dev/kvm ] || fail 'no KVM in the virtual machine'
	# What KVM does so as not to sleep is no work.
	echo 0 >/sys/module/kvm/parameters/halt_poll_ns
	guest_rows_start >&2
}

# guest_rows_prepare: make what the disks are, all of it written, and the servers of vhost_blk.
guest_rows_prepare()
{
	local n

	rows_begin
	ram_disks 5
	for n in 1 2 3 4; do
		run dd if=/dev/zero of=/dev/ram$n bs=1M count=$GUEST_MIB oflag=direct status=none
	done
	make_images
	mkdir -p /run/vblk
	serve_ram ram3
	serve_ram ram4 --batch
	serve_image d6
	serve_image d7 --batch
	serve_image d10
	serve_image d11 --batch
}

# serve_ram NAME [OPTION...]: as /run/vblk/NAME.sock.
serve_ram()
{
	vhost-serve --queues "$GUEST_CPUS" "${@:2}" "$1" "/run/vblk/$1.sock" &
	cleanup kill $!
	wait_until 60 [ -S "/run/vblk/$1.sock" ]
}

# serve_image NAME [OPTION...]
serve_image()
{
	run vblk-attach --queues "$GUEST_CPUS" "${@:2}" "$IMAGE_MNT/$1" "$1" >&2
	cleanup vblk-detach --force "$1"
}

# Alike to the byte.
make_images()
{
	local n

	place_make xfs
	cleanup umount "$IMAGE_MNT"
	run qemu-img create -q -f qcow2 "$IMAGE_MNT/d6" ${GUEST_MIB}M
	run dmsetup create bench --table "0 $((GUEST_MIB * 2048)) qcow2 $IMAGE_MNT/d6"
	run dd if=/dev/zero of=/dev/mapper/bench bs=1M count=$GUEST_MIB oflag=direct conv=fsync status=none
	run dmsetup remove --retry bench
	for n in d4 d5 d7 chain1; do
		run cp --sparse=never --reflink=never "$IMAGE_MNT/d6" "$IMAGE_MNT/$n"
	done
	make_overlays 8 d8 d9 d10 d11
	sync
}

# make_overlays DEPTH NAME...: so many images, of which chain1 is there, and overlays on them.
make_overlays()
{
	local depth=$1 n
	shift

	SIZE_MIB=$GUEST_MIB
	for ((n = 2; n <= depth; n++)); do
		overlay_make "$IMAGE_MNT/chain$((n - 1))" "$IMAGE_MNT/chain$n"
	done
	for n; do
		overlay_make "$IMAGE_MNT/chain$depth" "$IMAGE_MNT/$n"
	done
}

# virtio_disk SERIAL FILE FORMAT [IOTHREAD-OPTION]: QEMU's options.
virtio_disk()
{
	echo "-object iothread,id=io-$1${4:+,$4}"
	echo "-drive file=$2,format=$3,if=none,id=$1,cache=none,aio=${GUEST_AIO:-native}"
	echo "-device virtio-blk-pci,drive=$1,iothread=io-$1,serial=$1,num-queues=$GUEST_CPUS"
}

vhost_disk()
{
	echo "-chardev socket,id=$1,path=/run/vblk/$1.sock,$(guest_reconnect)"
	echo "-device vhost-user-blk-pci,chardev=$1,num-queues=$GUEST_CPUS"
}

# guest_rows_start: boot the guest, and set guest_disk_of to the names by which it knows the disks.
guest_rows_start()
{
	local row

	# shellcheck disable=SC2046 # lists of words
	guest_start bench - --smp "$GUEST_CPUS" -name bench,debug-threads=on \
		$(virtio_disk d1 /dev/ram1 raw poll-max-ns=0) $(virtio_disk d2 /dev/ram2 raw) \
		$(vhost_disk ram3) $(vhost_disk ram4) $(vhost_disk d6) $(vhost_disk d7) \
		$(virtio_disk d4 "$IMAGE_MNT/d4" qcow2 poll-max-ns=0) $(virtio_disk d5 "$IMAGE_MNT/d5" qcow2) \
		$(virtio_disk d8 "$IMAGE_MNT/d8" qcow2 poll-max-ns=0) $(virtio_disk d9 "$IMAGE_MNT/d9" qcow2) \
		$(vhost_disk d10) $(vhost_disk d11)
	for row in "${!guest_serial[@]}"; do
		# shellcheck disable=SC2004 # the index is a name
		guest_disk_of[$row]=$(guest_run bench <<<"cd /sys/block && dirname \$(grep -l -x ${guest_serial[$row]} vd*/serial)") ||
			fail "$row: the guest does not see it"
	done
}

# guest_fio ROW WORKLOAD IOS: do so many in the guest; print the nanoseconds that this took, idle time left out.
guest_fio()
{
	local disk=${guest_disk_of[$1]} rw=randread begin end

	[[ $2 != overwrite-* ]] || rw=randwrite
	begin=$(busy-ns)
	interrupts_script "$disk" fio --name=cost --filename="/dev/$disk" --allow_file_create=0 --direct=1 \
		--ioengine=io_uring --thread --iodepth="${2##*-qd}" --rw=$rw --bs=4k --norandommap --gtod_reduce=1 --eta=never \
		--output=/dev/null --size=${GUEST_MIB}M --io_size=$((4 * $3 / GUEST_CPUS))k --numjobs="$GUEST_CPUS" \
		--cpus_allowed=0-$((GUEST_CPUS - 1)) --cpus_allowed_policy=split |
		guest_run bench >"$TMP/guest-fio" || { cat "$TMP/guest-fio" >&2; return 1; }
	end=$(busy-ns)
	echo $((end - begin))
}
