# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# Overwrites alone, and while a full backup runs: by vblk-backup, or a job of QEMU's block layer that copies before writes.
# Sourced after live.sh.

measure_jobs()
{
	local rows row round

	mapfile -t rows < <(selected jobs)
	[ ${#rows[@]} != 0 ] || return 0
	BENCH_MIB=256
	SIZE_MIB=$BENCH_MIB
	live_begin
	for row in "${rows[@]}"; do
		noise_image "$row"
		live_serve "$row"
	done
	for ((round = 1; round <= BENCH_ROUNDS; round++)); do
		for row in "${rows[@]}"; do
			jobs_round "$row" $round
		done
	done
	live_end
}

# noise_image ROW: all is mapped, and no zeroes, which might not be copied.
noise_image()
{
	choose_image qcow2-xfs "$1"
	run dd if=/dev/urandom of="$TMP/noise" bs=1M count="$BENCH_MIB" status=none
	run qemu-img convert -f raw -O qcow2 "$TMP/noise" "$IMAGE"
	run rm "$TMP/noise"
	run sync -f "$IMAGE"
}

# jobs_round ROW ROUND. What a backup takes of them is "share-...".
jobs_round()
{
	local row=$1 round=$2

	pace_begin
	drive "$row" --depth=32 --seconds="$RUNTIME"
	drive_keep jobs "$row" alone-qd32 "$round"
	"backup_begin_${row%%-*}" "$row"
	drive_begin "$row" --depth=32
	"backup_end_${row%%-*}"
	drive_end
	pace_end
	drive_keep jobs "$row" backup-qd32 "$round"
	run rm "$COPIES/copy"
	awk -v cell="jobs/$row" -v round="$round" '$1 == cell && $3 == round { iops[$2] = $4 }
		END { print cell, "share-backup-qd32", round, iops["backup-qd32"] / iops["alone-qd32"], 0, 0 }' \
		"$VBLK_OUT/rounds" >"$TMP/share"
	tee -a "$VBLK_OUT/rounds" <"$TMP/share"
}

# backup_begin_vhost ROW: until it copies.
backup_begin_vhost()
{
	vblk-backup --progress=json "$1" "$COPIES/copy" 2>"$TMP/progress" >&2 &
	backup=$!
	wait_until 120 grep -q '"progress"' "$TMP/progress"
}

backup_end_vhost()
{
	wait "$backup" || fail "the backup has failed: $(tail -n 3 "$TMP/progress")"
}

backup_begin_qsd()
{
	run qemu-img create -q -f qcow2 "$COPIES/copy" "${BENCH_MIB}M"
	qmp "{\"execute\": \"blockdev-add\", \"arguments\": {\"driver\": \"qcow2\", \"node-name\": \"copy\",
		\"cache\": {\"direct\": true}, \"file\": {\"driver\": \"file\", \"filename\": \"$COPIES/copy\",
		\"cache\": {\"direct\": true}, \"aio\": \"native\"}}}"
	qmp '{"execute": "blockdev-backup",
		"arguments": {"job-id": "backup", "device": "disk", "target": "copy", "sync": "full"}}'
}

backup_end_qsd()
{
	qmp_event '*"BLOCK_JOB_COMPLETED"*'
	[[ $qmp_answer != *'"error"'* ]] || fail "the backup has failed: $qmp_answer"
	qmp '{"execute": "blockdev-del", "arguments": {"node-name": "copy"}}'
}
