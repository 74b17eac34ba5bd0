# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# Chains of images: tables for them, and random ones that QEMU judges. Sourced after tests/dm-qcow2/lib.sh and
# tests/crash/lib.sh.
#
#	chain-plan SEED ──► plan ──► qemu-img, qemu-io: the images, and a copy of the top
#	                     │
#	                     ├──► chain-ops ──► /dev/mapper/X (dm-qcow2) and a mirror of what qemu-img read before
#	                     └──► qemu-io ──► the copy
#
# Device, mirror and copy hold the same in the end; no image but the top has changed. A plan that fails is made smaller, and
# printed.

. "$VBLK_TOP/tests/vm/kmsg.sh"

# With CHAIN_SERVER=qemu, QEMU serves the chain as a file by FUSE: the tests' own test.
CHAIN_SERVER=${CHAIN_SERVER:-kernel}

# What the tables of random chains do with discards; version 2 has no way to keep clusters.
CHAIN_DISCARD=${CHAIN_DISCARD:-unmap}

# With CHAIN_DATA=yes or raw, each image of version 3 with standard L2 entries has a data file, raw ones only where nothing is
# below.
CHAIN_DATA=${CHAIN_DATA:-}

# chain_table SECTORS WORD...: a table line of these layers, bottom to top; what begins with "features" ends them.
chain_table()
{
	local sectors=$1
	shift

	echo "0 $sectors qcow2 $*"
}

# attach_chain [--readonly] WORD...: the layers, with "format:raw" before a raw one; the disk is as large as the last image.
# Sets DEV.
attach_chain()
{
	local name=$NAME-q$((++qcow2_devices)) mode='' top
	if [ "$1" = --readonly ]; then
		mode=$1
		shift
	fi
	top=$(chain_top "$@")

	# shellcheck disable=SC2086 # no mode, no word
	run dmsetup create "$name" $mode --table "$(chain_table "$(image_sectors "$top")" "$@")"
	cleanup remove_left "$name"
	DEV=/dev/mapper/$name
}

# chain_top WORD...: the last image of a table.
chain_top()
{
	local word top

	for word; do
		[ "$word" != features ] || break
		top=$word
	done
	echo "$top"
}

# chain_refused REGEX [--readonly] WORD...: as refused(), for a chain.
chain_refused()
{
	local regex=$1 mode=()
	shift
	if [ "$1" = --readonly ]; then
		mode=("$1")
		shift
	fi

	chain_table_refused "$regex" "$(chain_table "$(image_sectors "$(chain_top "$@")")" "$@")" "${mode[@]}"
}

# chain_table_refused REGEX TABLE [--readonly]: with one line in the log, and nothing is left behind.
chain_table_refused()
{
	local regex=$1 table=$2 name=$NAME-refused
	shift 2

	log_from_here
	if dmsetup create "$name" "$@" --table "$table" 2>"$TMP/refused"; then
		dmsetup remove --retry "$name"
		fail "attached, though it should be refused ($regex): $table"
	fi
	! dmsetup info "$name" >/dev/null 2>&1 || fail "a device was left behind"
	log_since | grep -i qcow2: | tee "$TMP/refused"
	grep -q -i -E "qcow2: .*($regex)" "$TMP/refused" || fail "refused without saying: $regex"
	[ "$(wc -l <"$TMP/refused")" = 1 ] || fail "refused in more than one line: $regex"
}

# overlay_image FILE BACKING FORMAT [SIZE] [OPTIONS]: with QEMU, on an image of that format.
overlay_image()
{
	run qemu-img create -q -f qcow2 -b "$2" -F "$3" ${5:+-o "$5"} "$1" ${4:+"$4"}
}

# chain_raw IMAGE FILE: what QEMU reads from it and from what is below.
chain_raw()
{
	run qemu-img convert -f qcow2 -O raw "$1" "$2"
}

# fingerprint FILE...: of images that must not change; same_fingerprints: have they?
fingerprint()
{
	run sha256sum "$@" >"$TMP/fingerprints"
}

same_fingerprints()
{
	run sha256sum --quiet -c "$TMP/fingerprints"
}

# Random chains.

# chain_setup: what all plans need.
chain_setup()
{
	requires chain-plan chain-ops qemu-img qemu-io
	mkdir "$TMP/patterns"
	run chain-ops patterns "$TMP/patterns"
	: >"$TMP/loops"
	declare -gA chain_place
	chain_ops_options=
	chain_places_"$CHAIN_SERVER"
	cleanup chain_drop
}

chain_places_kernel()
{
	requires losetup
	requires_module dm-qcow2 loop
	scratch_fs ext4 1200
	chain_place[ext4]=$SCRATCH_MNT
	scratch_fs xfs 1000
	chain_place[xfs]=$SCRATCH_MNT
	chain_place[tmpfs]=$TMP/tmpfs
	mkdir "$TMP/tmpfs"
	run mount -t tmpfs -o size=1g tmpfs "$TMP/tmpfs"
	cleanup umount "$TMP/tmpfs"
	ram_disk chain0 160
	ram_disk chain1 160
}

# QEMU 7.2 mixes up the data of requests that its FUSE server has at the same time.
chain_places_qemu()
{
	local place

	chain_ops_options='--threads 1 --piece 131072'
	requires qemu-storage-daemon
	for place in ext4 xfs tmpfs; do
		chain_place[$place]=$TMP/$place
		mkdir "$TMP/$place"
	done
}

# chain_drop: whatever is left of a plan.
chain_drop()
{
	chain_detach
	while read -r loop; do
		losetup -d "$loop"
	done <"$TMP/loops"
	: >"$TMP/loops"
	rm -f "${chain_place[@]/%//chain-*}"
	rm -f "${chain_place[ext4]}"/chain-* "${chain_place[xfs]}"/chain-* "${chain_place[tmpfs]}"/chain-*
}

# chain_make NUMBER FORMAT PLACE BYTES OPTIONS: make the image on those that are there, fill it, and add it to chain_words and
# chain_images, and its data file, or nothing, to chain_data.
chain_make()
{
	local number=$1 format=$2 place=$3 bytes=$4 options=${5:-} path data=

	[ "$CHAIN_SERVER" = kernel ] || [[ $place != @(loop|ram) ]] || place=ext4
	case $place in
	loop) path=${chain_place[ext4]}/chain-$number ;;
	ram) path=/dev/$NAME-chain$((chain_rams++)) ;;
	*) path=${chain_place[$place]}/chain-$number ;;
	esac
	if [ "$format" = raw ]; then
		run truncate -s "$bytes" "$path"
		chain_fills "$number" | sed 's/^[a-z]*/op write/' >"$TMP/fills"
		run chain-ops --buffered 1 --threads 1 "$path" "$TMP/fills"
	elif [ "$place" = loop ]; then
		run truncate -s $(((bytes * 5 / 4 / 4096 * 4096) + (24 << 20))) "$path"
	fi
	[ "$place" != loop ] || chain_loop path
	[ "$format" = raw ] || chain_make_qcow2 "$number" "$path" "$bytes" "$options"
	chain_words+=(format:"$format" ${data:+"data:$data"} "$path")
	chain_images+=("$path")
	chain_formats+=("$format")
	chain_data+=("$data")
}

# chain_loop VARIABLE: a device on the file that it names, in its place.
chain_loop()
{
	local -n file=$1

	file=$(losetup -f --show "$file") || fail "no loop device"
	echo "$file" >>"$TMP/loops"
}

# chain_make_data NUMBER BYTES: sets data, and changes options to ask for it: in a file, of either file system, or on a device.
chain_make_data()
{
	local places=(ext4 xfs loop) place

	case $CHAIN_DATA,$options,${#chain_images[@]} in
	,* | *compat=0.10* | *extended_l2=on* | raw,*,[1-9]*) return ;;
	esac
	place=${places[(chain_seed + $1) % 3]}
	data=${chain_place[${place/loop/ext4}]}/chain-data-$1
	if [ "$place" = loop ]; then
		# QEMU writes all of the last cluster.
		run truncate -s $((($2 + (2 << 20) - 1) >> 21 << 21)) "$data"
		options=${options/preallocation=falloc/preallocation=metadata}
		chain_loop data
	fi
	options+=,data_file=$data
	[ "$CHAIN_DATA" != raw ] || options+=,data_file_raw=on
}

# chain_spoil_data BYTES: what the data file held before is nobody's.
chain_spoil_data()
{
	[ -z "$data" ] || tr "\\0" "\\252" </dev/zero | dd of="$data" bs=64k count="$1" iflag=fullblock,count_bytes conv=notrunc,fsync status=none
}

# chain_make_qcow2 NUMBER PATH BYTES OPTIONS
chain_make_qcow2()
{
	local number=$1 path=$2 bytes=$3 options=$4 below=()

	if [ ${#chain_images[@]} != 0 ]; then
		below=(-b "${chain_images[-1]}" -F "${chain_formats[-1]}")
		[[ $options = *extended_l2=on* ]] || options=${options%,preallocation=*}
	fi
	chain_make_data "$number" "$bytes"
	run qemu-img create -q -f qcow2 "${below[@]}" -o "$options" "$path" "$bytes"
	chain_spoil_data "$bytes"
	mapfile -t commands < <(chain_fills "$number" | chain_commands)
	[ ${#commands[@]} = 0 ] || run qemu-io -t unsafe -f qcow2 "${commands[@]/#/-c}" "$path"
}

# chain_fills NUMBER: how, where and with what that image is filled.
chain_fills()
{
	sed -n "s/^fill $1 //p" "$chain_plan"
}

# chain_commands: for qemu-io.
chain_commands()
{
	local how offset bytes pattern

	while read -r how offset bytes pattern; do
		case $how in
		write | fua) echo "write -q -s $TMP/patterns/$pattern $offset $bytes" ;;
		compressed) echo "write -q -c -s $TMP/patterns/$pattern $offset $bytes" ;;
		zero) echo "write -q -z $offset $bytes" ;;
		unmap) echo "write -q -z -u $offset $bytes" ;;
		discard) echo "discard -q $offset $bytes" ;;
		flush) echo flush ;;
		esac
	done
}

chain_attach()
{
	local discard=$CHAIN_DISCARD

	! chain_top_is_old || discard=unmap
	if [ "$CHAIN_SERVER" = kernel ]; then
		log_from_here
		chain_says_why dmsetup create "$NAME-chain" \
			--table "$(chain_table "$(image_sectors "${chain_images[-1]}")" "${chain_words[@]}" features 1 "discard=$discard")"
		chain_dev=/dev/mapper/$NAME-chain
		return
	fi
	chain_dev=$TMP/chain-export
	: >"$chain_dev"
	run qemu-storage-daemon --daemonize --pidfile "$TMP/chain-pid" \
		--blockdev "driver=qcow2,node-name=top,file.driver=file,file.filename=${chain_images[-1]},discard=unmap" \
		--export "type=fuse,id=top,node-name=top,mountpoint=$chain_dev,writable=on"
}

# chain_says_why COMMAND...: as run, with what the kernel says of it.
chain_says_why()
{
	local status

	echo "+ $*" >&2
	"$@" && return
	status=$?
	log_since | grep -i qcow2
	fail "exit status $status: $*: $(log_since | sed -n 's/.*qcow2: //p' | tail -n 1)"
}

# chain_top_is_old: is it of version 2?
chain_top_is_old()
{
	grep '^image' "$chain_plan" | tail -n 1 | grep -q compat=0.10
}

# chain_top_is_extended: has it extended L2 entries? What reads as zero in a fresh cluster is data there.
chain_top_is_extended()
{
	grep '^image' "$chain_plan" | tail -n 1 | grep -q extended_l2=on
}

# chain_has_zeroes: can the device be told to write zeroes? Device-mapper offers it if all devices below have it.
chain_has_zeroes()
{
	[ "$CHAIN_SERVER" = kernel ] || return
	[ "$(<"/sys/class/block/$(basename "$(readlink -f "$chain_dev")")/queue/write_zeroes_max_bytes")" != 0 ]
}

chain_detach()
{
	local pid

	if [ "$CHAIN_SERVER" = kernel ]; then
		remove_left "$NAME-chain"
	elif pid=$(cat "$TMP/chain-pid" 2>/dev/null); then
		kill "$pid"
		timeout 60 tail --pid="$pid" -s 0.1 -f /dev/null
	fi
}

# chain_try PLAN: all of it; exits as a test does.
chain_try()
{
	local word number format place bytes options top
	chain_plan=$1 chain_images=() chain_words=() chain_formats=() chain_data=() chain_rams=0

	while read -r word number format place bytes options; do
		[ "$word" != image ] || chain_make "$number" "$format" "$place" "$bytes" "$options"
	done <"$chain_plan"
	top=${chain_images[-1]}
	chain_copy "$top" "${chain_data[-1]}"
	chain_raw "$top" "$TMP/chain-mirror"
	chain_fingerprint
	chain_attach
	chain_same_as_mirror "before any write"
	[ -z "${CHAIN_SPOIL:-}" ] || "$CHAIN_SPOIL"
	# shellcheck disable=SC2086 # a list of options
	run chain-ops $chain_ops_options --mirror "$TMP/chain-mirror" "$chain_dev" "$chain_plan"
	chain_same_as_mirror "after all writes"
	# Zeroes that are written by others than QEMU and the target are data; of QEMU's, those over a base in an old image are, too.
	chain_maps_alike=no
	if chain_has_zeroes || { chain_top_is_old && [ ${#chain_images[@]} -gt 1 ]; }; then
		chain_top_is_extended || chain_maps_alike=yes
	fi
	# In raw data files zeroes are data.
	[ "$CHAIN_DATA" != raw ] || chain_maps_alike=no
	run chain_detach
	chain_judge "$top"
}

# chain_fingerprint: of all that is below the top.
chain_fingerprint()
{
	local below=(/dev/null) k

	for ((k = 0; k < ${#chain_images[@]} - 1; k++)); do
		below+=("${chain_images[k]}")
		[ -z "${chain_data[k]}" ] || below+=("${chain_data[k]}")
	done
	fingerprint "${below[@]}"
}

# chain_copy IMAGE DATA-FILE: both, for QEMU.
chain_copy()
{
	local copy=${chain_place[ext4]}/chain-copy

	run cp --sparse=always "$1" "$copy"
	[ -n "$2" ] || return 0
	chain_data_bytes=$(stat -c %s "$2")
	run cp --sparse=always "$2" "$copy-data"
	run qemu-img amend -q -f qcow2 -o "data_file=$copy-data" "$copy"
}

# chain_same_as_mirror WHEN
chain_same_as_mirror()
{
	[ "$CHAIN_SERVER" != kernel ] || run blockdev --flushbufs "$chain_dev"
	cmp "$TMP/chain-mirror" "$chain_dev" || fail "the device does not read as the chain does, $1"
}

# chain_judge TOP: what is left after detach.
chain_judge()
{
	local k commands copy=${chain_place[ext4]}/chain-copy

	same_fingerprints
	for k in "${!chain_images[@]}"; do
		[ "${chain_formats[k]}" = raw ] || check_image "${chain_images[k]}"
	done
	same_as_mirror "$TMP/chain-mirror" "$1"
	[ "$CHAIN_DATA" != raw ] || [ -z "${chain_data[-1]}" ] || chain_same_raw "${chain_data[-1]}"
	mapfile -t commands < <(sed -n 's/^op //p' "$chain_plan" | chain_commands)
	[ ${#commands[@]} = 0 ] || run qemu-io -t unsafe -d unmap -f qcow2 "${commands[@]/#/-c}" "$copy"
	run qemu-img compare -q -f qcow2 -F qcow2 "$copy" "$1"
	[ "$chain_maps_alike" = no ] || same_map "$copy" "$1"
}

# chain_same_raw FILE: the disk is what it holds, and it has not grown.
chain_same_raw()
{
	cmp -n "$(stat -c %s "$TMP/chain-mirror")" "$TMP/chain-mirror" "$1" || fail "the raw data file reads otherwise than the disk"
	[ "$(stat -c %s "$1")" = "$chain_data_bytes" ] || fail "the raw data file has another length"
}

# same_map IMAGE IMAGE: QEMU finds data, zeroes and what is below at the same places, wherever that is in the files.
same_map()
{
	chain_map "$1" >"$TMP/map-1"
	chain_map "$2" >"$TMP/map-2"
	[ -s "$TMP/map-1" ] || fail "no map of $1"
	diff "$TMP/map-1" "$TMP/map-2" || fail "$2: other clusters are mapped than in $1"
}

# chain_map IMAGE: a line for each run of guest space: start, end, how deep, whether something is there, whether it is data.
chain_map()
{
	run qemu-img map -f qcow2 --output=json "$1" |
		sed -n 's/.*"start": \([0-9]*\), "length": \([0-9]*\), "depth": \([0-9]*\), "present": \([a-z]*\), .*"data": \([a-z]*\).*/\1 \2 \3 \4 \5/p' |
		awk 'function flush() { if (what != "") print start, end, what }
			{ now = $3 " " $4 " " $5; if (now != what) { flush(); start = $1; what = now } end = $1 + $2 }
			END { flush() }'
}

# chain_run PLAN LOG: try it; nothing of it is left. The kernel's complaints are this plan's.
chain_run()
{
	local status complaint=

	[ "$CHAIN_SERVER" != kernel ] || kmsg_mark "$1"
	(
		VBLK_REASON=$TMP/chain-reason
		chain_try "$1"
	) >"$2" 2>&1
	status=$?
	chain_drop
	[ "$CHAIN_SERVER" != kernel ] || complaint=$(kmsg_complaints "$2")
	if [ -n "$complaint" ]; then
		echo "$complaint" >>"$TMP/chain-reason"
		status=1
	fi
	return $status
}

# chain_seed SEED OPTION...: the plan of that seed, options as for chain-plan. One that fails is made smaller.
chain_seed()
{
	local seed=$1
	shift

	chain_seed=$seed
	rm -f "$TMP/chain-reason"
	run chain-plan "$@" "$seed" >"$TMP/plan"
	if ! chain_run "$TMP/plan" "$TMP/chain-log"; then
		cat "$TMP/chain-log"
		cp "$TMP/chain-reason" "$TMP/why"
		chain_minimise "$TMP/plan" "${CHAIN_TRIES:-60}"
		echo "== seed $seed fails with this, made of $(wc -l <"$TMP/plan") lines (chain-plan $* $seed):"
		cat "$TMP/smallest"
		echo "== again: VBLK_SEED=$seed make check T=$TEST"
		fail "seed $seed ($*): $(tail -n 1 "$TMP/why")"
	fi
}

# chain_minimise PLAN TRIES: sets $TMP/smallest to a plan that fails, too, with fewer lines: without some images, then
# without some runs of lines, which become shorter.
chain_minimise()
{
	local tries=$2 run_lines lines from image

	cp "$1" "$TMP/smallest"
	for image in $(sed -n 's/^image \([0-9]*\) .*/\1/p' "$1" | head -n -1); do
		chain_smaller -e "/^\(image\|fill\) $image /d"
	done
	run_lines=$(wc -l <"$TMP/smallest")
	while [ $((run_lines /= 2)) -gt 0 ] && [ "$tries" -gt 0 ]; do
		lines=$(wc -l <"$TMP/smallest")
		# From the end, so that what is left keeps its place.
		for ((from = (lines - 1) / run_lines * run_lines + 1; from > 0; from -= run_lines)); do
			chain_smaller -e "$from,$((from + run_lines - 1)){/^image/!d}"
		done
	done
}

# chain_smaller SED-OPTION...: the smallest plan so far without some lines, if that still fails.
chain_smaller()
{
	sed "$@" "$TMP/smallest" >"$TMP/smaller"
	if [ "$tries" -le 0 ] || cmp -s "$TMP/smaller" "$TMP/smallest"; then
		return
	fi
	tries=$((tries - 1))
	chain_run "$TMP/smaller" "$TMP/smaller-log" || cp "$TMP/smaller" "$TMP/smallest"
}
