#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# Linux 6.12.117 (Debian 6.12.117-1~deb12u1): lseek() on a block device waits for a discard of it by somebody else.
#
# BLKDISCARD, and fallocate() with a hole, hold the inode lock of the block device until the device has done all of
# it; blkdev_llseek() takes the same lock, if only to look how large the device is. A write holds it at no time. So
# whoever asks for the size by SEEK_END, as QEMU does for its host devices and dd for "seek=", stands still for as long
# as a discard of gigabytes takes on a slow device, although reads and writes of that go on.
#
# Seen, with a null_blk device whose requests take 4 seconds, lseek() one second after the start:
#
#	lseek during a write: 0 s
#	lseek during a discard: 3 s
#
# Needs apt, dpkg-deb, gcc with a static libc, cpio, xz, QEMU for x86. Fails when that is not what it sees.
set -eu

version=6.12.117-1~deb12u1
release=6.12.117+deb12-amd64
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"

apt-get -q -q download "linux-image-$release=$version"
dpkg-deb -x linux-image-*.deb root
mkdir -p fs/dev fs/modules
for module in configfs null_blk; do
	file=$(find root/lib/modules root/usr/lib/modules -name "$module.ko*" 2>/dev/null | head -n 1)
	[ -n "$file" ] || continue
	case $file in
	*.xz) xz -dc "$file" >"fs/modules/$module.ko" ;;
	*) cp "$file" "fs/modules/$module.ko" ;;
	esac
done

cat >init.c <<'EOF'
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/fs.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void load(const char *path, const char *options)
{
	int fd = open(path, O_RDONLY);

	if (fd >= 0)
		syscall(SYS_finit_module, fd, options, 0);
}

static int open_disk(void)
{
	int fd = open("/dev/nullb0", O_RDWR | O_DIRECT);

	if (fd < 0)
		perror("/dev/nullb0");
	return fd;
}

static void keep_busy(const char *how)
{
	static char block[4096] __attribute__((aligned(4096)));
	uint64_t range[2] = { 1 << 20, 1 << 20 };
	int fd = open_disk();

	if (*how == 'd' ? ioctl(fd, BLKDISCARD, range) : pwrite(fd, block, 4096, 0) != 4096)
		perror(how);
	_exit(0);
}

static void try(const char *how)
{
	int fd = open_disk();
	time_t start;

	if (!fork())
		keep_busy(how);
	sleep(1);
	start = time(NULL);
	lseek(fd, 0, SEEK_END);
	printf("lseek during a %s: %d s\n", how, (int)(time(NULL) - start));
	wait(NULL);
}

int main(void)
{
	mount("dev", "/dev", "devtmpfs", 0, NULL);
	freopen("/dev/console", "w", stdout);
	freopen("/dev/console", "w", stderr);
	load("/modules/configfs.ko", "");
	load("/modules/null_blk.ko", "nr_devices=1 gb=1 memory_backed=1 discard=1 irqmode=2 completion_nsec=4000000000");
	try("write");
	try("discard");
	reboot(RB_POWER_OFF);
	return 0;
}
EOF
gcc -static -O2 -Wno-unused-result -o fs/init init.c
(cd fs && find . | cpio -o -H newc --quiet) >initrd
timeout 600 qemu-system-x86_64 -accel tcg -m 1G -nographic -no-reboot -kernel root/boot/vmlinuz-* -initrd initrd \
	-append 'console=ttyS0 quiet panic=-1' </dev/null | tr -d '\r' | grep -o 'lseek during.*' | tee seen
grep -q -x 'lseek during a write: [01] s' seen || { echo 'a write holds it up, too' >&2; exit 1; }
grep -q -x 'lseek during a discard: [2-4] s' seen || { echo 'that has changed' >&2; exit 1; }
