# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# Chains as products make them: vblk-attach follows each by the names in its headers, and QEMU says what it reads and
# what writes leave. Sourced after tests/dm-qcow2/lib.sh.

# volume MIB: sets VOLUME to a block device of that size, on which something else was before.
volume()
{
	scratch_dev "$1"
	VOLUME=$SCRATCH_DEV
	run dd if="$NOISE" of="$VOLUME" bs=1M count="$1" iflag=fullblock oflag=direct status=none
}

# fill IMAGE MIB...: a MiB of noise at each of these places, by QEMU.
fill()
{
	local image=$1 at commands=()
	shift

	[ -e "$TMP/mib" ] || run dd if="$NOISE" of="$TMP/mib" bs=1M count=1 status=none
	for at; do
		commands+=(-c "write -q -s $TMP/mib ${at}M 1M")
	done
	run qemu-io -f qcow2 "${commands[@]}" "$image"
}

# begin_use DEPTH TOP [VBLK-ATTACH-OPTION...]: attach it, with so many images below, whose sums are kept; sets DEV, and
# MIRROR to what QEMU reads of it.
begin_use()
{
	local depth=$1 top=$2
	shift 2

	MIRROR=$TMP/mirror
	run qemu-img convert -f qcow2 -O raw "$top" "$MIRROR"
	mirror_bytes=$(stat -c %s "$MIRROR")
	run vblk-attach --no-vhost "$@" "$top" "$NAME-use"
	cleanup leave_use
	DEV=/dev/mapper/$NAME-use
	vblk-list --chain "$NAME-use" | awk 'NR > 1 { print $2 }' >"$TMP/images"
	[ "$(wc -l <"$TMP/images")" = $((depth + 1)) ] || fail "$top: not $depth images below: $(xargs <"$TMP/images")"
	tail -n +2 "$TMP/images" | xargs sha256sum >"$TMP/below" || fail "cannot read what is below $top"
	same_through_device "$MIRROR"
}

leave_use()
{
	[ ! -e "/dev/mapper/$NAME-use" ] || vblk-detach --force "$NAME-use"
}

# write_at_random COUNT: from a sector to 300 KiB each; seeded by $SEED.
write_at_random()
{
	local k bytes

	for ((k = 0; k < $1; k++)); do
		bytes=$(((RANDOM % 3 ? RANDOM % 32 : RANDOM % 600) * 512 + 512))
		put_both $(((RANDOM << 15 | RANDOM) % ((mirror_bytes - bytes) / 512) * 512)) $bytes "$MIRROR"
	done
}

# end_use TOP: flush and detach; QEMU finds in it what was written, no error and no leak, and nothing below has changed.
end_use()
{
	sync_device || fail "a flush failed"
	same_through_device "$MIRROR"
	run vblk-detach "$NAME-use"
	check_image "$1"
	same_as_mirror "$MIRROR" "$1"
	run sha256sum --quiet -c "$TMP/below"
}

# use DEPTH TOP [VBLK-ATTACH-OPTION...]: read all of it, and write to it.
use()
{
	begin_use "$@"
	write_at_random 25
	end_use "$2"
}

SEED=${SEED:-$RANDOM}
RANDOM=$SEED
echo "SEED=$SEED"
