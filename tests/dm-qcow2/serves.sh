# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# Whether a host's file system serves images. Sourced after tests/dm-qcow2/lib.sh.

# serves DIRECTORY: an image there that is made, whose end is no whole cluster, and whose free clusters held something.
serves()
{
	local image=$1/image.qcow2 block

	echo "== $1: $(stat -f -c %T "$1")"
	new_image "$image" 24M
	run qemu-io -c 'write -q -P 7 0 8M' -c 'write -q -z -u 0 8M' "$image"
	run truncate -s +4608 "$image"
	new_mirror "$TMP/mirror" 24M
	attach "$image"
	block=$(blockdev --getss "$DEV")
	put_both $((3 << 20)) $((1 << 20)) "$TMP/mirror"
	put_both $(((9 << 20) + block)) "$block" "$TMP/mirror"
	put_both $(((9 << 20) + 3 * block)) $((5 * block)) "$TMP/mirror"
	run sync_device
	put_both $(((3 << 20) + 7 * block)) "$block" "$TMP/mirror"
	same_through_device "$TMP/mirror"
	detach_and_verify "$TMP/mirror" "$image"
	run rm "$image"
}
