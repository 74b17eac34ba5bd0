# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# The checks of scripts/lint: each prints what it found, nothing when all is well.

# sources PATTERN...: files of the project whose names match; what is built or hidden is not ours to check.
sources()
{
	local pattern args=()

	for pattern; do
		args+=(-o -name "$pattern")
	done
	find . -path ./build -prune -o -path ./.git -prune -o -type f \( "${args[@]:1}" \) -print | sort
}

shell_sources()
{
	{
		grep -rlE '^#!/bin/(ba|busybox )?sh' --exclude-dir=build --exclude-dir=.git --exclude=.git .
		sources '*.sh' '*.bash'
	} | sort -u
}

lint_licences()
{
	sources '*.[ch]' '*.sh' Makefile Kbuild '*.rst' '*.scd' '*.cocci' | cat - <(shell_sources) | sort -u |
		xargs grep -L 'SPDX-License-Identifier: GPL-2.0' | sed 's/$/: no SPDX line/'
}

# A path of somebody's own machine helps nobody else.
lint_names_of_machines()
{
	! grep -rnE "(^|[[:space:]'\"=:])/(home|work)/" --exclude-dir=build --exclude-dir=.git --exclude=.git .
}

lint_shell_scripts()
{
	# One by one: given all of them, it needs minutes.
	shell_sources | xargs -n 1 shellcheck -f gcc
}

lint_spelling()
{
	sources '*.[ch]' '*.sh' '*.md' '*.rst' '*.scd' | cat - <(shell_sources) | sort -u | xargs codespell -L inflight,filp
}

lint_kernel_doc()
{
	sources '*.[ch]' | grep -E '^./(dm-qcow2|vhost-blk|include)/' |
		xargs -r perl "$KDIR/scripts/kernel-doc" -none
}

# All modules, from scratch, with W=1 and sparse.
lint_module_sources()
{
	local farm=$out/$KVER

	rm -rf "$farm"
	make -s modules KVER="$KVER" KDIR="$KDIR" FARM="$farm" C=2 CF=-D__CHECK_ENDIAN__ >/dev/null
}

# The kernel's own checkers come with its source only.
kernel_checkers()
{
	local tarball=/usr/src/linux-source-6.12.tar.xz

	[ ! -e "$out/linux/scripts" ] || return 0
	[ -e $tarball ] || { echo "$tarball: not here; hint: apt-get install linux-source-6.12"; return 1; }
	mkdir -p "$out/linux"
	tar -C "$out/linux" --strip-components=1 -xf $tarball --wildcards '*/scripts/checkpatch.pl' \
		'*/scripts/spelling.txt' '*/scripts/const_structs.checkpatch' '*/scripts/coccinelle/*'
}

# What a lock protects is said in the kernel-doc of its struct. Trace headers have a form of their own, and one header is
# for user space.
lint_checkpatch()
{
	kernel_checkers || return
	kernel_sources | xargs -r perl "$out/linux/scripts/checkpatch.pl" --no-tree --strict --terse --quiet --no-summary \
		--ignore FILE_PATH_CHANGES,UNCOMMENTED_DEFINITION -f
}

kernel_sources()
{
	sources '*.[ch]' | grep -E '^\./(dm-qcow2|vhost-blk|include)/' | grep -v -E '/(trace|userspace)\.h$'
}

lint_semantic_patches()
{
	local patch

	kernel_checkers || return
	command -v spatch >/dev/null || { echo 'spatch: not here; hint: apt-get install coccinelle'; return 1; }
	for patch in "$out"/linux/scripts/coccinelle/{api,free,iterators,locks,null}/*.cocci; do
		grep -q 'virtual report' "$patch" || continue
		spatch --very-quiet -D report --no-includes --cocci-file "$patch" dm-qcow2/*.c dm-qcow2/*/*.c vhost-blk/*.c tools/*/*.c
	done 2>/dev/null
}

# user_space CC FLAG...: build the tools in a directory of their own with another compiler or other flags.
user_space()
{
	local compiler=$1 dir=$out/tools-$1
	shift

	rm -rf "$dir"
	make -s -C tools O="$dir" TOP="$top" CC="$compiler" CFLAGS="$*" >/dev/null
}

lint_user_space_clang()
{
	user_space clang -O2
}

lint_user_space_analyzer()
{
	user_space gcc -O1 -fanalyzer
}
