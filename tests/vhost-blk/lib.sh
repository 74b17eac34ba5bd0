# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# shellcheck disable=SC2034 # set for the test
# Devices for the vhost-blk tests.

requires virtio-front
[ -d /sys/module/vhost_blk ] || insert_module "$VBLK_BUILD/$KVER/vhost-blk/vhost_blk.ko"

# null_disk MIB [ATTRIBUTE=VALUE]...: sets NULL_DEV to a RAM disk with these attributes of null_blk.
null_disk()
{
	local dir=/sys/kernel/config/nullb/$NAME-null setting

	[ -d /sys/module/null_blk ] || modprobe null_blk nr_devices=0 || skip "module null_blk"
	mountpoint -q /sys/kernel/config || run mount -t configfs configfs /sys/kernel/config
	run mkdir "$dir"
	cleanup rmdir "$dir"
	for setting in "size=$1" memory_backed=1 "${@:2}" power=1; do
		echo "${setting#*=}" >"$dir/${setting%%=*}" || fail "null_blk: $setting"
	done
	run udevadm settle
	NULL_DEV=/dev/$NAME-null
	[ -b "$NULL_DEV" ] || NULL_DEV=/dev/nullb$(cat "$dir/index")
	[ -b "$NULL_DEV" ] || fail "null_blk made no device"
}

# stacked_dev TABLE: sets STACKED_DEV to a device-mapper device; it is named $STACKED.
stacked_dev()
{
	STACKED=$NAME-stacked
	STACKED_DEV=/dev/mapper/$STACKED
	run dmsetup create "$STACKED" --table "$1"
	cleanup dmsetup remove --retry "$STACKED"
}

# reload TABLE: give the stacked device another table.
reload()
{
	run dmsetup load "$STACKED" --table "$1"
	run dmsetup resume "$STACKED"
}

# answer WANT OPTION... -- REQUEST...: the answer to one request, for example "status=0 used=1".
answer()
{
	local want=$1 got
	shift

	got=$(virtio-front "$@") || fail "virtio-front $*"
	[ "$got" = "$want" ] || fail "virtio-front $*: $got, expected $want"
}

# bench OPTION...: measure; the figures go to "$TMP/bench".
bench()
{
	run virtio-front --json "$@" bench >"$TMP/bench"
	cat "$TMP/bench"
}

# bench_has FILTER: of jq, on the figures of the last bench.
bench_has()
{
	jq -e "$1" "$TMP/bench" >/dev/null || fail "not so: $1"
}

# hold OPTION...: serve a disk in the background until "release".
hold()
{
	local line

	coproc HOLD { exec virtio-front "$@" hold; }
	read -r line <&"${HOLD[0]}"
	[ "$line" = held ] || fail "virtio-front $* hold: $line"
}

release()
{
	local pid=$HOLD_PID

	eval "exec ${HOLD[1]}>&-"
	wait "$pid" || fail "the held disk ended with an error"
}
