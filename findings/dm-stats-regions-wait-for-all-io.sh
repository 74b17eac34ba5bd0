#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# Linux 6.12.117 (Debian 6.12.117-1~deb12u1): to make a dm-stats region stops all I/O of the device, and waits for the slowest
# request that is under way, however long that takes; no signal ends it.
#
# "@stats_create", what dmstats(8) sends, is thought of as counting from now on. dm_stats_create() needs a moment in which no bio is
# between its begin and its end, and gets it by dm_internal_suspend_fast(): new bios are held back, and those under way are
# waited for (dm_wait_for_completion(), TASK_UNINTERRUPTIBLE). That is no usual suspend: the target's presuspend is not called, which in
# dm-delay, dm-multipath or a thin pool lets go of what waits in the target. So where a request waits for a path, for space or for a
# server, whoever wants to see why makes all others wait with it, reads as well.
#
# Seen, with a write that dm-delay holds for 20 seconds:
#
#	idle: a region is made
#	beside the write: a region waits
#	beside both: a read waits
#	behind the write: a region, a read
#
# Needs apt, dpkg-deb, kmod, busybox-static, dmsetup, cpio, xz, QEMU for x86. Fails when that is not what it sees.
set -eu

version=6.12.117-1~deb12u1
release=6.12.117+deb12-amd64
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"

apt-get -q -q download "linux-image-$release=$version"
dpkg-deb -x linux-image-*.deb root
depmod -b root "$release"
mkdir -p fs/{bin,dev,modules,proc,sys,tmp}

# copy PROGRAM...: with the libraries that it needs.
copy()
{
	local program file

	for program; do
		cp -L "$(command -v "$program")" fs/bin
		for file in $(ldd "$(command -v "$program")" | grep -o '/[^ ]*'); do
			mkdir -p "fs${file%/*}"
			cp -L "$file" "fs$file"
		done
	done
}

PATH=$PATH:/usr/sbin:/sbin
cp "$(command -v busybox)" fs/bin
copy dmsetup
number=100
for module in null_blk dm-delay; do
	while read -r _ file _; do
		number=$((number + 1))
		xz -dc "$file" >"fs/modules/$number-$(basename "$file" .xz)"
	done < <(modprobe -d root -S "$release" --show-depends "$module" | grep ^insmod)
done

cat >fs/init <<'INIT'
#!/bin/busybox sh
busybox=/bin/busybox
$busybox --install -s /bin
export PATH=/bin DM_DISABLE_UDEV=1
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
for module in /modules/*null_blk.ko; do
	insmod /modules/*configfs.ko 2>/dev/null
	insmod $module nr_devices=2 gb=1 memory_backed=1 discard=1
done
for module in /modules/*; do
	insmod $module 2>/dev/null
done
dmsetup create slow --table '0 131072 delay /dev/nullb0 0 0 /dev/nullb0 0 20000'
dmsetup message slow 0 @stats_create - /1 >/tmp/idle
[ -s /tmp/idle ] && echo 'idle: a region is made'

dd if=/dev/zero of=/dev/mapper/slow bs=4k count=1 oflag=direct 2>/dev/null &
written=$!
# What dm-delay holds it does not count as in flight, in 6.12.
until dmsetup status slow | grep -q ' 0 1 0$'; do :; done
dmsetup message slow 0 @stats_create - /1 >/tmp/beside &
made=$!
sleep 4
[ -s /tmp/beside ] && said='is made' || said=waits
echo "beside the write: a region $said"
dd if=/dev/mapper/slow of=/tmp/read bs=4k count=1 skip=1000 iflag=direct 2>/dev/null &
read=$!
sleep 4
[ -s /tmp/read ] && said='is done' || said=waits
echo "beside both: a read $said"
wait $written $made $read
[ -s /tmp/beside ] && [ -s /tmp/read ] && echo 'behind the write: a region, a read'
poweroff -f
INIT
chmod +x fs/init
(cd fs && find . | cpio -o -H newc --quiet) >initrd
timeout 600 qemu-system-x86_64 -accel tcg -m 1G -nographic -no-reboot -kernel root/boot/vmlinuz-* -initrd initrd \
	-append 'console=ttyS0 quiet panic=-1' </dev/null | tr -d '\r' | tee console |
	grep -o -E '(idle|beside the write|beside both|behind the write): .*' | tee seen || { cat console >&2; exit 1; }
diff - seen <<'SEEN' || { echo 'that has changed' >&2; exit 1; }
idle: a region is made
beside the write: a region waits
beside both: a read waits
behind the write: a region, a read
SEEN
