# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# One point of the matrix cluster size x refcount width x version x where the image is.

GEOMETRY_CLUSTERS=(512 1024 2048 4096 8192 16384 32768 65536 131072 262144 524288 1048576 2097152)
GEOMETRY_WIDTHS=(1 2 4 8 16 32 64)
GEOMETRY_PLACES=(ext4 xfs device)

# geometry_places: make all places; sets geometry_image[PLACE].
geometry_places()
{
	local place

	declare -gA geometry_image
	for place in "${GEOMETRY_PLACES[@]}"; do
		place_for_image "$place" 400
		geometry_image[$place]=$IMAGE
	done
}

# The size is no multiple of the cluster nor of 4 KiB, and there are always several L2 tables or clusters.
geometry_size()
{
	local clusters=$(($1 < 65536 ? 65536 : $1))

	echo $((clusters * 11 + 7 * 512))
}

# geometry_content FILE SIZE: pieces of noise, and holes. The hole at the end is written through the device.
geometry_content()
{
	local step=$(($2 / 6 / 512 * 512)) k

	new_mirror "$1" "$2"
	for k in 0 2 3; do
		put_noise "$1" $((k * step + 512)) $((step / 3 / 512 * 512 + 512))
	done
}

# geometry_pairs FIRST END: each of these clusters with each width and with version 2, which has refcounts of 16 bits
# only; the place is another one each time, so that it meets each cluster, each width and both versions.
geometry_pairs()
{
	local c w cluster

	for ((c = $1; c < $2; c++)); do
		cluster=${GEOMETRY_CLUSTERS[c]}
		for ((w = 0; w < ${#GEOMETRY_WIDTHS[@]}; w++)); do
			geometry_case "$cluster" "${GEOMETRY_WIDTHS[w]}" 3 "${GEOMETRY_PLACES[(c + w) % 3]}" 60
		done
		geometry_case "$cluster" 16 2 "${GEOMETRY_PLACES[c % 3]}" 60
	done
}

# geometry_case CLUSTER WIDTH VERSION PLACE OPS
geometry_case()
{
	local image=${geometry_image[$4]} mirror=$TMP/mirror size compat=1.1
	local options=cluster_size=$1,refcount_bits=$2

	[ "$3" = 3 ] || compat=0.10
	echo "== clusters of $1, refcounts of $2 bits, version $3, $4"
	size=$(geometry_size "$1")
	[ -e "$TMP/content$size" ] || geometry_content "$TMP/content$size" "$size"
	run cp --sparse=always "$TMP/content$size" "$mirror"
	run qemu-img convert -f raw -O qcow2 -o "$options,compat=$compat" "$mirror" "$image"
	attach "$image"
	same_through_device "$mirror"
	run crash-writer --ops "$5" --max-bytes $(($1 < 8192 ? 16384 : $1 * 2)) --mirror "$mirror" "$DEV" "$TMP/journal"
	put_both $((size - 512)) 512 "$mirror"
	same_through_device "$mirror"
	detach_and_verify "$mirror" "$image"
}
