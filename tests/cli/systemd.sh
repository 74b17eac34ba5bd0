# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# A systemd in namespaces of its own, which knows our units and nothing else of this machine's: all of it ends with its first
# process.

SYSTEMD_PROGRAM=/lib/systemd/systemd

# systemd_targets DIR: what our units name, with nothing in it.
systemd_targets()
{
	local target

	run mkdir "$1"
	for target in sysinit basic shutdown local-fs remote-fs multi-user timers umount; do
		printf '[Unit]\nDefaultDependencies=no\n' >"$1/$target.target"
	done
}

# start_systemd UNIT-PATH: one that finds units there. Sets SYSTEMD, its pid.
start_systemd()
{
	local cgroup=/sys/fs/cgroup/test/systemd

	run mkdir $cgroup
	cleanup rmdir $cgroup
	cleanup sh -c "find $cgroup -mindepth 1 -depth -type d -exec rmdir {} +"
	cleanup wait_until 20 grep -q 'populated 0' $cgroup/cgroup.events
	cleanup sh -c "echo 1 >$cgroup/cgroup.kill"
	cleanup rm -rf /run/systemd/private /run/systemd/notify /run/systemd/system
	# shellcheck disable=SC2016 # for the inner shell
	sh -c 'echo 0 >"$1/cgroup.procs" && shift && exec unshare --mount --pid --fork --kill-child --cgroup --uts "$@"' - $cgroup \
		sh -c 'mount -t proc proc /proc && umount -l /sys/fs/cgroup && mount -t cgroup2 cgroup2 /sys/fs/cgroup && exec "$@"' - \
		env -i container=vblk PATH=/usr/sbin:/usr/bin:/sbin:/bin "SYSTEMD_UNIT_PATH=$1" \
		$SYSTEMD_PROGRAM --system --unit=basic.target >"$TMP/systemd" 2>&1 </dev/null &
	cleanup cat "$TMP/systemd"
	wait_until 60 systemd_is_running $cgroup/init.scope/cgroup.procs
}

# systemd_is_running FILE: the first process that FILE has is systemd's, and it is ready.
systemd_is_running()
{
	read -r SYSTEMD 2>/dev/null <"$1" && ctl is-system-running --quiet 2>/dev/null
}

within()
{
	nsenter -t "$SYSTEMD" --mount --pid --cgroup "$@"
}

ctl()
{
	within systemctl "$@"
}
