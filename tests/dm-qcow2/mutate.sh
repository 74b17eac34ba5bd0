# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# Images with random damage, each mapped, read, written and unmapped. Whatever the module answers is right, as long as
# it answers: the runner looks for warnings, and the test's time limit for hangs.

# mutate_prepare: good images of several kinds to damage.
mutate_prepare()
{
	local k

	scratch_fs ext4 200
	mutate_good=()
	for k in cluster_size=512,refcount_bits=1 cluster_size=4096,refcount_bits=64 cluster_size=65536 \
		cluster_size=16384,extended_l2=on; do
		new_image "$SCRATCH_MNT/good$k" 8M "$k"
		run qemu-io -f qcow2 -c 'write -q 0 1M' -c 'write -q -z 2M 64k' -c 'write -q 5M 70000' "$SCRATCH_MNT/good$k"
		mutate_good+=("$SCRATCH_MNT/good$k")
	done
}

# random_below LIMIT: bash's generator, seeded by the test; sets R.
random_below()
{
	R=$(((RANDOM << 30 | RANDOM << 15 | RANDOM) % $1))
}

# mutate_once FILE SIZE-OF-HEADER-AND-TABLES: a few random bytes, most of them in the header.
mutate_once()
{
	local n at

	random_below 4
	for ((n = R; n >= 0; n--)); do
		random_below 3
		if [ "$R" = 0 ]; then
			random_below "$2"
			at=$R
		else
			random_below 104
			at=$R
		fi
		random_below 256
		mutate_said+=" $at=$R"
		put_bytes "$1" "$at" "$(printf %02x "$R")"
	done
}

# mutate_use IMAGE: what a user would do with it.
mutate_use()
{
	local name=$NAME-mutant

	dmsetup create "$name" --table "0 $((8 << 11)) qcow2 $1" 2>/dev/null || return 0
	DEV=/dev/mapper/$name
	dd if="$DEV" of=/dev/null bs=256K count=8 iflag=direct conv=noerror status=none 2>/dev/null
	put_quietly 512 2>/dev/null
	put_quietly $((7 << 20)) 2>/dev/null
	sync_device 2>/dev/null
	dmsetup remove --retry "$name" || fail "a mutant cannot be removed:$mutate_said"
	mutate_mapped=$((mutate_mapped + 1))
}

# mutate_many COUNT SEED
mutate_many()
{
	local k good image=$SCRATCH_MNT/mutant

	RANDOM=$2
	mutate_mapped=0
	for ((k = 0; k < $1; k++)); do
		good=${mutate_good[k % ${#mutate_good[@]}]}
		mutate_said=" ${good##*/}"
		cp --sparse=always "$good" "$image"
		mutate_once "$image" 65536
		[ $((k % 16)) != 15 ] || truncate -s "$((RANDOM * 8))" "$image"
		mutate_use "$image"
	done
	echo "$mutate_mapped of $1 mutants were mapped"
}
