#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# Linux 6.12.117 (Debian 6.12.117-1~deb12u1): dm-era marks only the first block of a discard, and answers no status while it
# is suspended.
#
# Reads and writes are split where a block ends (dm_set_target_max_io_len()), so era_map() looks at one block a bio. Discards
# are split so only for targets that set max_discard_granularity (__process_abnormal_io() in dm.c), and dm-era does not. A backup
# that copies what era_invalidate prints so has old data where the device has what a discard leaves. And status and messages
# are done by a worker that stands still from suspend to resume: whoever asks meanwhile waits, and no signal ends that. "dmsetup
# status" without a name asks all devices.
#
# Seen:
#
#	write of 16 blocks: 16 are marked
#	discard of 16 blocks: 1 are marked
#	status while suspended: no answer
#	status after resume: an answer
#
# Needs apt, dpkg-deb, kmod, busybox-static, dmsetup, thin-provisioning-tools, cpio, xz, QEMU for x86. Fails when that is not
# what it sees.
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
copy dmsetup era_invalidate
number=100
for module in null_blk dm-era; do
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
dd if=/dev/zero of=/dev/nullb0 bs=4k count=1 conv=fsync 2>/dev/null
dmsetup create era --table '0 131072 era /dev/nullb0 /dev/nullb1 128'

# marked FROM TO: how many of these blocks era_invalidate prints.
marked()
{
	era_invalidate --metadata-snapshot --written-since 1 /dev/nullb0 | awk -F '"' -v from=$1 -v to=$2 '
		/<block / { first = $2; end = $2 + 1 }
		/<range / { first = $2; end = $4 }
		/<block |<range / { for (b = first; b < end; b++) if (b >= from && b < to) n++ }
		END { print n + 0 }'
}

dd if=/dev/zero of=/dev/mapper/era bs=1M seek=4 count=1 oflag=direct 2>/dev/null
blkdiscard -o 1048576 -l 1048576 /dev/mapper/era
dmsetup message era 0 take_metadata_snap
echo "write of 16 blocks: $(marked 64 80) are marked"
echo "discard of 16 blocks: $(marked 16 32) are marked"
dmsetup message era 0 drop_metadata_snap

dmsetup suspend era
dmsetup status era >/tmp/status &
asked=$!
sleep 5
if [ -s /tmp/status ]; then said='an answer'; else said='no answer'; fi
echo "status while suspended: $said"
dmsetup resume era
wait $asked
if [ -s /tmp/status ]; then said='an answer'; else said='no answer'; fi
echo "status after resume: $said"
poweroff -f
INIT
chmod +x fs/init
(cd fs && find . | cpio -o -H newc --quiet) >initrd
timeout 600 qemu-system-x86_64 -accel tcg -m 1G -nographic -no-reboot -kernel root/boot/vmlinuz-* -initrd initrd \
	-append 'console=ttyS0 quiet panic=-1' </dev/null | tr -d '\r' | tee console |
	grep -o -E '(write of|discard of|status while|status after) .*' | tee seen || { cat console >&2; exit 1; }
diff - seen <<'SEEN' || { echo 'that has changed' >&2; exit 1; }
write of 16 blocks: 16 are marked
discard of 16 blocks: 1 are marked
status while suspended: no answer
status after resume: an answer
SEEN
