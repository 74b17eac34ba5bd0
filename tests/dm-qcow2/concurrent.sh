# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# Many writers at once, on a file and on a block device. A block's content follows from its offset alone, so
# writers that overlap agree on it whatever their order, and anybody can check it afterwards.

fio_everywhere()
{
	run fio --name=writers --filename="$1" --allow_file_create=0 --direct=1 --ioengine=libaio --verify=pattern \
		--verify_pattern=%o --verify_interval=512 --verify_fatal=1 --output="$TMP/fio" "${@:2}"
}

# concurrent_writers SIZE OPTIONS BLOCK-SIZES: 8 jobs that each write every block of the image in an order of
# its own; then the device, and what QEMU reads after detach, are verified.
concurrent_writers()
{
	local place

	for place in ext4 device; do
		echo "== $place: $*"
		place_for_image $place 200
		new_image "$IMAGE" "$1" "$2"
		attach "$IMAGE"
		fio_everywhere "$DEV" --numjobs=8 --iodepth=32 --rw=randwrite --bs="$3" --randrepeat=0 --do_verify=0
		fio_everywhere "$DEV" --iodepth=32 --rw=read --bs="$3" --verify_only
		detach
		check_image "$IMAGE"
		run qemu-img convert -f qcow2 -O raw "$IMAGE" "$TMP/read"
		fio_everywhere "$TMP/read" --direct=0 --rw=read --bs="$3" --verify_only
	done
}
