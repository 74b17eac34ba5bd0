# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# The back-ends of a guest's disks. A row is BACK-END[-SETTING]...-PLACE, see tables.sh; each has an image of its own
# and a place on the PCI bus of its own, by which the guest finds it. Sourced after disks.sh.

FIRST_SLOT=3
# Long enough for an emulated guest to submit several requests; 50 would be on hardware.
POLL_US=${POLL_US:-1000}
declare -A slot_of server_of attached_as thread_of

# backends_begin: no disks yet.
backends_begin()
{
	disks_begin
	# Where servers keep their claims.
	mkdir -p /run/vblk
	disks=0
	guest_args=(-name 'g,debug-threads=on')
	slot_of=()
	server_of=()
	attached_as=()
	thread_of=()
	cleanup backends_drop
}

# backends_end: the guest has gone.
backends_end()
{
	local row

	for row in "${!server_of[@]}"; do
		[ -z "${attached_as[$row]:-}" ] || continue
		kill "${server_of[$row]}"
		wait "${server_of[$row]}"
	done
	for row in "${!attached_as[@]}"; do
		run vblk-detach "${attached_as[$row]}"
	done
	server_of=()
	attached_as=()
	disks_end
}

# backends_drop: whatever has gone wrong, no server is left.
backends_drop()
{
	local row

	[ ${#server_of[@]} != 0 ] || return 0
	kill "${server_of[@]}"
	for row in "${!attached_as[@]}"; do
		vblk-detach --force "${attached_as[$row]}"
	done
	# The kernel gives a disk up when the last request is done.
	sleep 1
}

# has_setting ROW SETTING
has_setting()
{
	[[ $1 == *-$2-* ]]
}

# image_of ROW: "ram", or "qcow2-PLACE...".
image_of()
{
	case $1 in
	*-qcow2-*) echo "qcow2-${1#*-qcow2-}" ;;
	*) echo ram ;;
	esac
}

# backend_add ROW QUEUES: make its image, start what serves it, and add it to guest_args.
backend_add()
{
	local row=$1

	full_image "$(image_of "$row")" "$row"
	backend_serve "$row" "$2"
}

# backend_serve ROW QUEUES: the same for IMAGE, which is there.
backend_serve()
{
	local slot

	# Eight functions a slot, as there are more disks than slots.
	slot=$(printf '%02x.%d' $((FIRST_SLOT + disks / 8)) $((disks % 8)))
	disks=$((disks + 1))
	slot_of[$1]=$slot
	case $1 in
	virtio-*) serve_virtio "$1" "$2" "$slot" ;;
	qsd-*) serve_qsd "$1" "$2" "$slot" ;;
	vhost-*) serve_vhost "$1" "$2" "$slot" ;;
	esac
}

# format_of ROW: of its image, for QEMU.
format_of()
{
	case $(image_of "$1") in
	ram) echo raw ;;
	*) echo qcow2 ;;
	esac
}

serve_virtio()
{
	local row=$1 queues=$2 slot=$3 aio=native thread="iothread,id=t$3"

	! has_setting "$row" uring || aio=io_uring
	! has_setting "$row" nopoll || thread+=,poll-max-ns=0
	! has_setting "$row" poll || thread+=",poll-max-ns=$((POLL_US * 1000))"
	guest_args+=(
		-object "$thread"
		-drive "file=$IMAGE,format=$(format_of "$row"),if=none,id=d$slot,cache=none,aio=$aio"
		-device "virtio-blk-pci,drive=d$slot,iothread=t$slot,num-queues=$queues,addr=$slot,multifunction=on"
	)
	thread_of[$row]="IO t$slot"
}

# front_end SOCKET QUEUES SLOT: QEMU's part of a vhost-user disk.
front_end()
{
	guest_args+=(
		-chardev "socket,id=c$3,path=$1,$(guest_reconnect)"
		-device "vhost-user-blk-pci,chardev=c$3,num-queues=$2,addr=$3,multifunction=on"
	)
}

serve_qsd()
{
	local row=$1 queues=$2 slot=$3 socket=$TMP/disk$3.sock driver=file

	[ ! -b "$IMAGE" ] || driver=host_device
	qemu-storage-daemon --object iothread,id=t \
		--blockdev "driver=$driver,node-name=file,filename=$IMAGE,cache.direct=on,aio=native" \
		--blockdev driver=qcow2,node-name=disk,file=file,cache.direct=on \
		--export "vhost-user-blk,id=export,node-name=disk,addr.type=unix,addr.path=$socket,writable=on,num-queues=$queues,iothread=t" &
	server_of[$row]=$!
	wait_until 60 [ -S "$socket" ]
	front_end "$socket" "$queues" "$slot"
}

serve_vhost()
{
	local row=$1 queues=$2 slot=$3 socket=$TMP/disk$3.sock options=(--queues "$2")

	! has_setting "$row" w1 || options+=(--workers 1)
	! has_setting "$row" w2 || options+=(--workers 2)
	! has_setting "$row" batch || options+=(--batch)
	! has_setting "$row" nopoll || options+=(--poll-us 0)
	! has_setting "$row" poll || options+=(--poll-us "$POLL_US")
	if [ "$(image_of "$row")" = ram ]; then
		vhost-serve "${options[@]}" "${IMAGE#/dev/}" "$socket" &
		server_of[$row]=$!
	else
		run vblk-attach "${options[@]}" --socket "$socket" "$IMAGE" "disk$slot" >&2
		attached_as[$row]=disk$slot
		server_of[$row]=$(vblk-list -o NAME,SERVER | awk -v name="disk$slot" '$1 == name { print $2 }')
	fi
	wait_until 60 [ -S "$socket" ]
	front_end "$socket" "$queues" "$slot"
}
