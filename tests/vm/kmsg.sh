# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# Reads the kernel's log since a mark and tells its complaints from its talk.

kmsg_pattern='WARNING:|BUG:|BUG at|Oops|general protection fault|INFO: task .* blocked|INFO: rcu|rcu:.*stall'
kmsg_pattern+='|possible .*(deadlock|recursive locking)|INFO: possible|INFO: trying to register|DEBUG_LOCKS'
kmsg_pattern+='|KASAN:|UBSAN:|kmemleak: [0-9]+ new|soft lockup|hard LOCKUP|workqueue lockup|refcount_t:'
kmsg_pattern+='|list_(add|del) corruption|sleeping function|ODEBUG:|held lock.* freed|lock held when returning'
kmsg_pattern+='|scheduling while atomic|unchecked MSR|page allocation failure|Bad page'

# kmsg_mark WHAT: what follows in the kernel's log belongs to WHAT.
kmsg_mark()
{
	kmsg_last="vblk-test: $1 $RANDOM$RANDOM"
	echo "$kmsg_last" >/dev/kmsg
}

kmsg_since_mark()
{
	dmesg | awk -v mark="$kmsg_last" 'seen; index($0, mark) { seen = 1 }'
}

# Leaks are looked for where the kernel can: the second scan reports what the first one found unreferenced.
kmsg_scan_leaks()
{
	local file=/sys/kernel/debug/kmemleak

	[ -w $file ] || return 0
	echo scan >$file 2>/dev/null || return 0
	sleep 5
	echo scan >$file
	cat $file
	echo clear >$file
}

# kmsg_complaints LOG: print the first complaint since the mark that the test did not announce, and any
# announced one that is missing; the whole log since then is added to LOG when there is something to say.
kmsg_complaints()
{
	local said complaint expected missing=

	said=$(kmsg_since_mark)
	touch "$VBLK_KMSG_EXPECT" "$VBLK_KMSG_ALLOW"
	complaint=$(grep -E "$kmsg_pattern" <<<"$said" |
		grep -v -E -f "$VBLK_KMSG_EXPECT" -f "$VBLK_KMSG_ALLOW" | head -n 1)
	while read -r expected; do
		grep -q -E "$expected" <<<"$said" || missing="no kernel message like: $expected"
	done <"$VBLK_KMSG_EXPECT"
	[ -n "$complaint$missing" ] || return 0
	printf '%s\n' '--- kernel log' "$said" >>"$1"
	echo "${complaint:+kernel: ${complaint#*] }}${missing:+$missing}"
}
