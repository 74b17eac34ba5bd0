# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# For the tests of the whole stack: a guest, or a front-end, on a qcow2 image.

# shellcheck disable=SC2034 # tests use the variables
# attach_image SIZE [VBLK-ATTACH-OPTION...]: sets IMAGE, which is attached as $NAME, SOCKET and SERVER.
attach_image()
{
	local size=$1
	shift

	[ -n "${SCRATCH_MNT:-}" ] || scratch_fs ext4 1024
	IMAGE=$SCRATCH_MNT/$NAME.qcow2
	run qemu-img create -q -f qcow2 "$IMAGE" "$size"
	attach_made "$@"
}

# attach_made [VBLK-ATTACH-OPTION...]: the same for $IMAGE, which is there.
attach_made()
{
	requires_module dm-qcow2 vhost_blk
	SOCKET=/run/vblk/$NAME.sock
	run vblk-attach "$@" "$IMAGE" "$NAME"
	cleanup detach_forced
	SERVER=$(server_pid)
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

# server_pid: the pid of the disk's server; nothing when it has none.
server_pid()
{
	vblk-list -o NAME,SERVER | awk -v name="$NAME" '$1 == name { print $2 }'
}

has_no_server()
{
	[ -z "$(server_pid)" ]
}

# start_server: a new server takes the disk over; sets SERVER to its pid. Refused as long as the old one lives, not
# while what is left of it waits for requests.
start_server()
{
	local said

	said=$(vblk-attach --json "$IMAGE" "$NAME") || return
	[[ $said =~ \"server_pid\":\ ([0-9]+) ]] || fail "no server in: $said"
	SERVER=${BASH_REMATCH[1]}
}

# kill_server: the server, $SERVER, dies at once, and a new one takes the disk over.
kill_server()
{
	kill -KILL "$SERVER" || fail "the server is gone"
	wait_until 60 has_no_server
	start_server || fail "no server takes over"
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
