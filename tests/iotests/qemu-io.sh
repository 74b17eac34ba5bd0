#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# qemu-io.sh [OPTION...] [FILE]: what QEMU's tests find as qemu-io.
#
# If FILE is a qcow2 image by a plain name, and all commands make sense on a disk, the image is attached, qemu-io
# runs them on the device, as raw, and the image is detached. Else qemu-io gets what was given here.
# $IOTESTS_JOURNAL gets a line for each run: "device", or "qemu: WHY". Needs $IOTESTS_QEMU_IO, the program, and
# $IOTESTS_OFFERS, what the device can do: "discard", "write-zeroes". $IOTESTS_ALONE: nothing goes through a device;
# $IOTESTS_SPOIL: a program that spoils the device given to it, before the image is detached.
set -u

given=("$@")
commands=()
all_commands=()
options=()
format=
attach_options=()
from_stdin=
name=vblk-iotests$$

say()
{
	echo "$*" >>"$IOTESTS_JOURNAL"
}

lines()
{
	[ $# = 0 ] || printf '%s\n' "$@"
}

# as_given WHY: without the device.
as_given()
{
	say "qemu: $*"
	if [ -n "$from_stdin" ]; then
		lines "${all_commands[@]}" | "$IOTESTS_QEMU_IO" "${given[@]}"
		exit "${PIPESTATUS[1]}"
	fi
	exec "$IOTESTS_QEMU_IO" "${given[@]}"
}

# The cache mode is the one thing that is not kept: the device is used without the page cache, so that the answer to
# each request is the device's.
parse()
{
	local words

	words=$(getopt -q -o c:f:rsnCmkd:t:i:T:UhV -l cmd:,format:,read-only,snapshot,nocache,copy-on-read,misalign \
		-l native-aio,discard:,cache:,aio:,trace:,force-share,object:,image-opts,help,version -- "${given[@]}") ||
		as_given 'options that qemu-io does not know'
	eval "set -- $words"
	while [ "$1" != -- ]; do
		case $1 in
		-c|--cmd) commands+=("$2"); shift ;;
		-f|--format) format=$2; shift ;;
		-r|--read-only) attach_options+=(--read-only); options+=(-r) ;;
		-n|--nocache|-k|--native-aio) ;;
		-t|--cache|-i|--aio|-T|--trace) shift ;;
		-m|--misalign) options+=("$1") ;;
		-d|--discard) options+=("$1" "$2"); shift ;;
		*) as_given "option $1" ;;
		esac
		shift
	done
	shift
	image=${1:-}
}

# take_open_options OPTION,...: those are left out that say no more than in which pieces QEMU is to access the image's
# file.
take_open_options()
{
	local option layer='(file\.|image\.)*'

	for option in ${1//,/ }; do
		if [[ $option =~ ^backing\.driver=(qcow2|raw)$ ]]; then
			attach_options+=(--backing-format "${BASH_REMATCH[1]}")
		elif [[ ! $option =~ ^$layer(driver=(qcow2|blkdebug)|align=.*|(max|opt)-[a-z-]*=.*)$ ]]; then
			as_given "command open with ${option%%=*}"
		fi
	done
}

# Where no image is given, the first command may open one.
take_open()
{
	local words=() arguments

	[ -z "$image" ] || return 0
	read -r -a words <<<"${commands[0]:-}"
	[ "${words[0]:-}" = open ] || as_given 'no image'
	arguments=("${words[@]:1}")
	while [[ ${arguments[0]:-} == -* ]]; do
		case ${arguments[0]} in
		-r) attach_options+=(--read-only); options+=(-r) ;;
		-o)
			take_open_options "${arguments[1]}"
			arguments=("${arguments[@]:1}")
			;;
		-o*) take_open_options "${arguments[0]#-o}" ;;
		*) as_given "command open ${arguments[0]}" ;;
		esac
		arguments=("${arguments[@]:1}")
	done
	image=${arguments[0]:-}
	image=${image#blkdebug::}
	commands=("${commands[@]:1}")
	check_image
}

is_qcow2()
{
	local magic

	IFS= LC_ALL=C read -r -N 4 magic <"$image" 2>/dev/null
	[ "$magic" = $'QFI\xfb' ]
}

check_image()
{
	[[ ${format:-qcow2} == qcow2 ]] || as_given "format $format"
	[[ ! $image =~ ^([a-z]+): ]] || as_given "an image by ${BASH_REMATCH[1]}:"
	[ -f "$image" ] || as_given 'no file'
	is_qcow2 || as_given 'no qcow2 image'
}

# What is read from here is no longer there for qemu-io.
read_commands()
{
	[ ${#commands[@]} = 0 ] || return 0
	mapfile -t commands
	all_commands=("${commands[@]}")
	from_stdin=yes
}

# are_sectors WORD...: are all numbers multiples of 512? No device discards anything else; what it is told to write may be.
are_sectors()
{
	local word

	for word; do
		[[ ! $word =~ ^(0x[0-9a-fA-F]+|[1-9][0-9]*|0)$ ]] || [ $((word % 512)) = 0 ] || return 1
	done
}

# check_command WORD...: does it make sense on a disk? What the device does not offer, the block layer would make up
# for with writes of zeros: to the image that is another thing.
check_command()
{
	local word flags=

	for word in "${@:2}"; do
		[[ $word != -[a-zA-Z]* ]] || flags+=${word#-}
	done
	case ${1:-} in
	''|'#'*|f|flush|aio_flush|sleep|q|quit|close|l|length|help) ;;
	r|read|readv|aio_read)
		[[ $flags != *b* ]] || as_given "$1 -b"
		;;
	w|write|writev|aio_write)
		[[ $flags != *b* ]] || as_given "$1 -b"
		[[ $flags != *c* ]] || as_given "$1 -c"
		[[ $flags != *z* ]] || [[ $IOTESTS_OFFERS == *write-zeroes* ]] || as_given "$1 -z: not offered by the device"
		;;
	d|discard)
		[[ $IOTESTS_OFFERS == *discard* ]] || as_given 'discard: not offered by the device'
		are_sectors "${@:2}" || as_given 'discard of parts of sectors'
		;;
	*)
		as_given "command $1"
		;;
	esac
}

check_commands()
{
	local line words

	for line in "${commands[@]}"; do
		read -r -a words <<<"$line"
		check_command "${words[@]}"
	done
}

attach()
{
	local said

	said=$(vblk-attach --no-vhost "${attach_options[@]}" "$image" "$name" 2>&1 >/dev/null) && return
	# "vblk-attach: IMAGE: WHY", and hints.
	said=${said%%$'\n'*}
	said=${said#vblk-attach: "$image": }
	# What a test calls its files does not say why.
	case $said in
	'backing file json:'*) said="backing file: ${said##*\}: }" ;;
	'backing file '*) said="backing file: ${said#*: }" ;;
	esac
	as_given "refused: $said"
}

detach()
{
	vblk-detach "$name" >/dev/null || exit 1
}

# run_commands: as qemu-io would have got them: it answers otherwise to those on standard input.
run_commands()
{
	local args=() command

	if [ -n "$from_stdin" ]; then
		lines "${commands[@]}" | "$IOTESTS_QEMU_IO" -f raw -t none "${options[@]}" "/dev/mapper/$name"
		return "${PIPESTATUS[1]}"
	fi
	for command in "${commands[@]}"; do
		args+=(-c "$command")
	done
	"$IOTESTS_QEMU_IO" -f raw -t none "${options[@]}" "${args[@]}" "/dev/mapper/$name"
}

[ -z "${IOTESTS_ALONE:-}" ] || as_given 'QEMU alone'
parse
# Before anything is read from who may talk to QEMU and wait for its answers.
[ -z "$image" ] || check_image
read_commands
take_open
check_commands
attach
say device
run_commands
status=$?
[ -z "${IOTESTS_SPOIL:-}" ] || "$IOTESTS_SPOIL" "/dev/mapper/$name"
detach
exit $status
