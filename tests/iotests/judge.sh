# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# Runs QEMU's tests with qemu-io.sh in the place of qemu-io, and judges what they print. Sourced after
# tests/lib/test.sh.

here=$VBLK_TOP/tests/iotests
unpacked=$VBLK_BUILD/tests/iotests
suite=$unpacked/tests/qemu-iotests

# Of the table in "expected".
declare -A must_pass is_quick may_differ left_out

# iotests_prepare: what all of them need. They are run on XFS, as some have files of exabytes.
iotests_prepare()
{
	[ -e "$unpacked/complete" ] || skip "QEMU's source package (hint: make deps)"
	requires qemu-system-x86_64 qemu-img qemu-io qemu-nbd qemu-storage-daemon python3 getopt
	requires_module dm-qcow2
	scratch_fs xfs 4096
	run install -m 755 "$here/qemu-io.sh" "$TMP/qemu-io"
	IOTESTS_QEMU_IO=$(command -v qemu-io)
	export IOTESTS_QEMU_IO IOTESTS_JOURNAL=$TMP/journal
	cleanup detach_left
	iotests_environment
	find_offers
	read_expected
	faults=0
}

# iotests_environment: what QEMU's own runner ("check -qcow2") gives its tests.
iotests_environment()
{
	export PYTHONPATH=$suite:$unpacked/python PYTHON PYTHONDONTWRITEBYTECODE=1
	export SOCK_DIR=$TMP/sock SAMPLE_IMG_DIR=$suite/sample_images
	export QEMU_PROG QEMU_IMG_PROG QEMU_NBD_PROG QSD_PROG QEMU_IO_PROG=$TMP/qemu-io
	export QEMU_OPTIONS QEMU_DEFAULT_MACHINE=pc
	export QEMU_IO_OPTIONS='--cache writeback --aio threads -f qcow2'
	export QEMU_IO_OPTIONS_NO_FMT='--cache writeback --aio threads'
	export IMGFMT=qcow2 IMGFMT_GENERIC=true IMGPROTO=file IMGOPTSSYNTAX=false
	export AIOMODE=threads CACHEMODE=writeback CACHEMODE_IS_DEFAULT=true

	PYTHON=$(command -v python3)
	QEMU_PROG=$(command -v qemu-system-x86_64)
	QEMU_IMG_PROG=$(command -v qemu-img)
	QEMU_NBD_PROG=$(command -v qemu-nbd)
	QSD_PROG=$(command -v qemu-storage-daemon)
	# Debian's QEMU is built without it.
	if [ "$("$QEMU_PROG" -accel help | grep -c -w qtest)" = 0 ]; then
		run install -m 755 "$here/qemu.sh" "$TMP/$(basename "$QEMU_PROG")"
		export IOTESTS_QEMU=$QEMU_PROG
		QEMU_PROG=$TMP/$(basename "$QEMU_PROG")
	fi
	QEMU_OPTIONS="-nodefaults -display none -accel qtest"
}

# find_offers: what a device can do besides reading and writing: see qemu-io.sh.
find_offers()
{
	local image=$SCRATCH_MNT/any.qcow2 queue

	export IOTESTS_OFFERS=
	run qemu-img create -q -f qcow2 "$image" 1M
	run vblk-attach --no-vhost "$image" vblk-iotests
	queue=/sys/class/block/$(basename "$(readlink -f /dev/mapper/vblk-iotests)")/queue
	[ "$(<"$queue/discard_max_bytes")" = 0 ] || IOTESTS_OFFERS+=discard,
	[ "$(<"$queue/write_zeroes_max_bytes")" = 0 ] || IOTESTS_OFFERS+=write-zeroes
	run vblk-detach vblk-iotests
}

# A qemu-io that was killed has not detached.
detach_left()
{
	local name

	for name in $(dmsetup info --noheadings -c -o name 2>/dev/null | grep '^vblk-iotests'); do
		dmsetup remove --retry "$name"
	done
}

# read_expected: the table's lines, by their form as the README has it.
read_expected()
{
	local name word more

	while read -r name word more; do
		if [ "$word" = left-out ]; then
			left_out[$name]=$more
			continue
		fi
		must_pass[$name]=$word
		[[ $more != quick* ]] || is_quick[$name]=yes
		[[ $more != *but\ * ]] || may_differ[$name]=${more#*but }
	done < <(grep '^[^#]' "$here/expected")
}

# iotests_all: QEMU's tests for qcow2 images or for any: their list of formats names these, or they have none.
iotests_all()
(
	any='\<_?supported_fmts?\>'
	ours="\<_supported_fmt .*\<(qcow2|generic)\>|\<supported_fmts *= *\[[^]]*['\"](qcow2|generic)['\"]"

	cd "$suite" || exit
	mapfile -t tests < <(printf '%s\n' [0-9][0-9][0-9] tests/* | grep -v '[.]')
	{ grep -l -E "$ours" "${tests[@]}"; grep -L -E "$any" "${tests[@]}"; } | sort
)

# iotests_quick: those that the table has for "make check".
iotests_quick()
{
	printf '%s\n' "${!is_quick[@]}" | sort
}

# iotests_slice N OF: each OF-th of all, from the N-th on: about as much work as each other slice.
iotests_slice()
{
	iotests_all | awk -v n="$1" -v of="$2" 'NR % of == n % of'
}

# calls_qemu_io TEST: does it ever? The monitor's command of that name is another thing.
calls_qemu_io()
{
	local calls='QEMU_IO|qemu_io|(^|[^_a-z])(io|io_pattern|io_test2?|io_zero|is_allocated) '

	[ "$(grep -v hmp_qemu_io "$suite/$1" | grep -c -E "$calls")" != 0 ]
}

# reference TEST: the file with what it should print.
reference()
{
	local suffix

	for suffix in .out.qcow2 .pc.out .out; do
		[ ! -e "$suite/$1$suffix" ] || { echo "$suite/$1$suffix"; return; }
	done
}

# execute_test TEST: run it in a directory of its own; sets DIFFERENCE to a file, empty if it printed what it
# should, and NOT_RUN to why it did not run, by its own words.
execute_test()
{
	local said=$TMP/said status=0 limit=$((2400 * ${VBLK_TIMEOUT_SCALE:-1})) interpreter=()

	export TEST_DIR=$SCRATCH_MNT/${1##*/}
	DIFFERENCE=$TMP/difference
	rm -rf "$TEST_DIR" "$SOCK_DIR"
	mkdir "$TEST_DIR" "$SOCK_DIR"
	: >"$IOTESTS_JOURNAL"
	! head -n 1 "$suite/$1" | grep -q python3 || interpreter=("$PYTHON")
	(cd "$suite/$(dirname "$1")" &&
		exec timeout -k 10 $limit "${interpreter[@]}" "./${1##*/}") </dev/null >"$said" 2>&1 ||
		status=$?
	NOT_RUN=$(cat "$TEST_DIR/${1##*/}.notrun" 2>/dev/null)
	# QEMU's runner does not mind white space at the end of a line either.
	diff -a -U 2 <(sed 's/[[:space:]]*$//' "$(reference "$1")") <(sed 's/[[:space:]]*$//' "$said") >"$DIFFERENCE"
	[ $status = 0 ] || echo "exit status $status" >>"$DIFFERENCE"
	detach_left
	rm -rf "$TEST_DIR"
}

through_device()
{
	grep -c '^device' "$IOTESTS_JOURNAL"
}

# why_not: the reason of most runs of qemu-io that did not go through a device.
why_not()
{
	local why

	why=$(sed -n 's/^qemu: //p' "$IOTESTS_JOURNAL" | sort | uniq -c | sort -s -r -n | sed -n '1s/^ *[0-9]* //p')
	echo "${why:-it did not come to run qemu-io}"
}

# judge_test TEST: sets VERDICT, WHY and RUNS, how often qemu-io went through the device.
judge_test()
{
	RUNS=0
	: >"$IOTESTS_JOURNAL"
	VERDICT='not applicable'
	if [ -n "${left_out[$1]:-}" ]; then
		WHY=${left_out[$1]}
		return
	elif ! calls_qemu_io "$1"; then
		WHY='it does not run qemu-io'
		return
	fi
	execute_test "$1"
	RUNS=$(through_device)
	WHY=$(why_not)
	if [ -n "$NOT_RUN" ]; then
		WHY="QEMU's test: $NOT_RUN"
	elif [ "$RUNS" = 0 ]; then
		return
	elif [ ! -s "$DIFFERENCE" ] || differs_as_known "$1"; then
		VERDICT=passed
	elif fails_alone "$1"; then
		WHY='with QEMU alone it fails here, too'
	else
		VERDICT=failed
	fi
}

# differs_as_known TEST: is each line that differs one of those that the table lets differ?
differs_as_known()
{
	[ -n "${may_differ[$1]:-}" ] || return
	# To count, and not to look for one: who writes to a reader that has gone fails, and so would the pipe.
	[ "$(sed '1,2{/^--- /d; /^+++ /d}; /^@@/d; /^ /d; s/^[-+]//' "$DIFFERENCE" |
		grep -c -v -E "${may_differ[$1]}")" = 0 ]
}

# fails_alone TEST: does it fail without any device, too?
fails_alone()
{
	cp "$DIFFERENCE" "$TMP/with-device"
	IOTESTS_ALONE=yes execute_test "$1"
	[ ! -s "$DIFFERENCE" ] || return 0
	DIFFERENCE=$TMP/with-device
	return 1
}

# compare TEST: print what of a verdict is not as the table says.
compare()
{
	local must=${must_pass[$1]:-}

	case $VERDICT in
	passed)
		if [ "$RUNS" -lt "${must:-0}" ]; then
			echo "fault: in the table, $must runs of qemu-io go through the device"
		elif [ "$RUNS" != "$must" ]; then
			echo "news: a line for the table: $1 $RUNS"
		fi
		;;
	failed)
		echo 'fault'
		;;
	*)
		[ -z "$must" ] || echo 'fault: in the table, it passes'
		;;
	esac
}

# describe TEST: its verdict, in a line.
describe()
{
	local without

	without=$(grep -c ^qemu: "$IOTESTS_JOURNAL")
	case $VERDICT in
	passed)
		echo -n "passed${may_differ[$1]:+ but for what is known}, $RUNS runs of qemu-io through the device"
		[ "$without" = 0 ] || echo -n ", $without without: most of them, $WHY"
		echo
		;;
	failed) echo "failed, $RUNS runs of qemu-io through the device" ;;
	*) echo "not applicable: $WHY" ;;
	esac
}

show_difference()
{
	head -n 60 "$DIFFERENCE" | tr -c '[:print:]\n' '?' | cut -c 1-160 | sed 's/^/    /'
}

# iotests_run TEST...: run and judge them; a line for each.
iotests_run()
{
	local test start said

	: >"$TMP/verdicts"
	for test; do
		start=$SECONDS
		judge_test "$test"
		echo "$test ($((SECONDS - start)) s): $(describe "$test")"
		[ "$VERDICT" != failed ] || show_difference
		echo "$VERDICT: $WHY" >>"$TMP/verdicts"
		said=$(compare "$test")
		[ -z "$said" ] || echo "$test: $said"
		[[ $said != fault* ]] || faults=$((faults + 1))
	done
	iotests_summary $#
	[ "$faults" = 0 ] || fail "$faults of QEMU's tests did not do what tests/iotests/expected says"
}

iotests_summary()
{
	local passed failed

	passed=$(grep -c ^passed "$TMP/verdicts")
	failed=$(grep -c ^failed "$TMP/verdicts")
	echo "$1 tests of QEMU: $((passed + failed)) run, $passed passed, $failed failed," \
		"$(($1 - passed - failed)) not applicable:"
	sed -n 's/^not applicable: //p' "$TMP/verdicts" | sort | uniq -c | sort -r -n
}
