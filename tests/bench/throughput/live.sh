# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# Disks that virtio-front drives through a socket, and to which something is done meanwhile: by the tools, or by the monitor
# of qemu-storage-daemon. A row begins with "vhost-" or "qsd-". Sourced after disks.sh.

declare -A socket_of

# live_begin: no disks yet, and a file system for copies of them.
live_begin()
{
	disks_begin
	mkdir -p /run/vblk
	socket_of=()
	qsd=
	cleanup live_drop
	choose_image copies-ext4 copies
	COPIES=${IMAGE%/*}
}

live_end()
{
	live_drop
	disks_end
}

# live_drop: also when something has gone wrong.
live_drop()
{
	local row

	for row in "${!socket_of[@]}"; do
		live_remove "$row"
	done
}

# live_serve ROW: start what serves IMAGE.
live_serve()
{
	# shellcheck disable=SC2004 # the index is a name
	socket_of[$1]=$TMP/$1.sock
	case $1 in
	vhost-*) run vblk-attach --queues 2 --socket "${socket_of[$1]}" "$IMAGE" "$1" >&2 ;;
	qsd-*) live_qsd "${socket_of[$1]}" ;;
	esac
}

# live_remove ROW
live_remove()
{
	case $1 in
	vhost-*) vblk-detach --force "$1" >&2 ;;
	qsd-*)
		[ -z "$qsd" ] || { kill "$qsd"; wait "$qsd"; }
		qsd=
		;;
	esac
	unset "socket_of[$1]"
}

# live_qsd SOCKET: there is one at a time. Its monitor has a pipe each way.
live_qsd()
{
	rm -f "$TMP"/qmp.{in,out} "$1"
	mkfifo "$TMP"/qmp.{in,out}
	exec {qmp_in}<>"$TMP/qmp.in" {qmp_out}<>"$TMP/qmp.out"
	qemu-storage-daemon --object iothread,id=t --chardev "pipe,id=m,path=$TMP/qmp" --monitor m \
		--blockdev "driver=file,node-name=file,filename=$IMAGE,cache.direct=on,aio=native,discard=unmap" \
		--blockdev driver=qcow2,node-name=disk,file=file,cache.direct=on,discard=unmap \
		--export "vhost-user-blk,id=e,node-name=disk,addr.type=unix,addr.path=$1,writable=on,num-queues=2,iothread=t" \
		>&2 &
	qsd=$!
	wait_until 60 [ -S "$1" ]
	qmp '{"execute": "qmp_capabilities"}'
}

# qmp COMMAND: what it returns is in qmp_answer.
qmp()
{
	echo "$1" >&"$qmp_in"
	while IFS= read -r -t 120 -u "$qmp_out" qmp_answer; do
		case $qmp_answer in
		'{"return"'*) return ;;
		'{"error"'*) fail "$1: $qmp_answer" ;;
		esac
	done
	fail "$1: no answer"
}

# qmp_event PATTERN: wait for it; what comes before is forgotten.
qmp_event()
{
	while IFS= read -r -t 120 -u "$qmp_out" qmp_answer; do
		# shellcheck disable=SC2053 # it is a pattern
		[[ $qmp_answer != $1 ]] || return 0
	done
	fail "no event $1"
}

# drive ROW OPTION...: overwrites of 4 KiB at random; what they say to "$TMP/json".
drive()
{
	local row=$1
	shift

	virtio-front --socket="${socket_of[$row]}" --size=128 --max-bytes=4096 --span=$((BENCH_MIB << 20)) --write-percent=100 \
		--json "$@" bench >"$TMP/json" || fail "$row: virtio-front has failed"
}

# drive_begin ROW OPTION...: the same in the background, until drive_end.
drive_begin()
{
	rm -f "$TMP/until"
	mkfifo "$TMP/until"
	exec {until}<>"$TMP/until"
	drive "$@" --until-eof <"$TMP/until" {until}>&- &
	driver=$!
}

drive_end()
{
	exec {until}>&-
	wait "$driver" || fail 'the driver has failed'
}

# drive_keep TABLE ROW WORKLOAD ROUND: I/Os a second, and as "p99-...", of which more is better, too, how many of the 99th
# percentile there are in one.
drive_keep()
{
	jq -r --arg cell "$1/$2" --arg workload "$3" --arg round "$4" '
		"\($cell) \($workload) \($round) \(.iops) \(.p50_ns / 1000) \(.p99_ns / 1000)",
		"\($cell) p99-\($workload) \($round) \(1e9 / .p99_ns) 0 0"' "$TMP/json" | tee -a "$VBLK_OUT/rounds"
}
