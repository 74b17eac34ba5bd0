# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# For the tests of the whole stack: a guest, or a front-end, on a qcow2 image.

# attach_image SIZE [VBLK-ATTACH-OPTION...]: sets IMAGE, attached as $NAME, and SOCKET; detached at the end.
attach_image()
{
	local size=$1
	shift

	requires_module dm-qcow2 vhost_blk
	[ -n "${SCRATCH_MNT:-}" ] || scratch_fs ext4 1024
	IMAGE=$SCRATCH_MNT/$NAME.qcow2
	SOCKET=/run/vblk/$NAME.sock
	run qemu-img create -q -f qcow2 "$IMAGE" "$size"
	run vblk-attach "$@" "$IMAGE" "$NAME"
	cleanup detach_forced
}

detach_forced()
{
	[ ! -e "/dev/mapper/$NAME" ] || vblk-detach --force "$NAME"
}

# detach_clean: detach the disk, whose guest has gone, and let qemu-img judge the image.
detach_clean()
{
	run vblk-detach "$NAME"
	run qemu-img check "$IMAGE"
}

server_pid()
{
	vblk-list -o NAME,SERVER | awk -v name="$NAME" '$1 == name { print $2 }'
}

has_no_server()
{
	[ -z "$(server_pid)" ]
}

# kill_server: the server dies at once, and a new one takes the disk over.
kill_server()
{
	local pid

	pid=$(server_pid)
	[ -n "$pid" ] || fail "the disk has no server"
	run kill -KILL "$pid"
	wait_until 30 has_no_server
	run vblk-attach "$IMAGE" "$NAME" >/dev/null
}

# guest_fio NAME ARG...: fio on the guest's disk; it verifies what it wrote.
guest_fio()
{
	local guest=$1
	shift

	guest_run "$guest" <<-EOF
		fio --name=verify --filename=/dev/vda --allow_file_create=0 --direct=1 --ioengine=libaio \
			--verify=crc32c --verify_fatal=1 --group_reporting --output-format=terse $* >/tmp/fio 2>&1 ||
			{ cat /tmp/fio; exit 1; }
	EOF
}
