#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# QEMU 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18), x86 guests without KVM: each start of the same program is translated anew, as the guest's
# kernel puts it and its libraries at other addresses each time. With "norandmaps" on the guest's kernel command line it is translated once.
#
# Translated blocks are found by the physical address of the code, which does not change, as it is in the guest's page cache. But the
# virtual address counts as well. A shell script starts hundreds of programs, each of which runs the dynamic loader once from end to
# end, so most of its time goes into translation: test suites in emulated VMs, and CI without nested KVM. Measured in the VM of this
# project: /bin/true from 46 to 20 ms, bash -c : from 92 to 29 ms. Blocks that are not used any more are kept until the buffer is full.
#
# Seen, with /bin/true started 300 times, by "info jit" of the monitor (blocks that there are then; some thousands more or less):
#
#	randomised: 697510 blocks
#	norandmaps: 93286 blocks
#
# Needs apt, dpkg-deb, busybox-static, cpio and the libraries of QEMU for x86. Fails when randomised ones do not take twice as many.
set -eu

version=6.12.117-1~deb12u1
release=6.12.117+deb12-amd64
qemu=1:7.2+dfsg-7+deb12u18+b3
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"

apt-get -q -q download "linux-image-$release=$version" "qemu-system-x86=$qemu" "qemu-system-common=$qemu" qemu-system-data seabios
for package in *.deb; do
	dpkg-deb -x "$package" root
done
export QEMU_MODULE_DIR=$dir/root/usr/lib/x86_64-linux-gnu/qemu
mkdir -p fs/{bin,dev,proc}
cp "$(command -v busybox)" fs/bin
cp /bin/true fs/bin/program
for file in $(ldd /bin/true | grep -o '/[^ ]*'); do
	mkdir -p "fs${file%/*}"
	cp -L "$file" "fs$file"
done
cat >fs/init <<'INIT'
#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
n=0
while [ $n -lt 300 ]; do
	/bin/program
	n=$((n + 1))
done
echo 'all have ended'
read -r _
INIT
chmod +x fs/init
(cd fs && find . | cpio -o -H newc --quiet) >initrd

# blocks WORD: how many there are when all have ended.
blocks()
{
	local machine

	rm -f monitor.in monitor.out console
	mkfifo monitor.in monitor.out
	touch console
	timeout 900 root/usr/bin/qemu-system-x86_64 -L root/usr/share/qemu -L root/usr/share/seabios -accel tcg -m 512 -display none -no-reboot -nodefaults \
		-chardev pipe,id=monitor,path=monitor -monitor chardev:monitor -serial file:console \
		-kernel root/boot/vmlinuz-* -initrd initrd -append "console=ttyS0 quiet panic=-1 $1" </dev/null 2>errors &
	machine=$!
	exec 7<>monitor.in 8<>monitor.out
	until grep -q 'all have ended' console; do
		kill -0 $machine || { cat console errors >&2; exit 1; }
		sleep 1
	done
	printf 'info jit\nquit\n' >&7
	wait $machine
	exec 7<&-
	timeout 2 cat <&8 | tr -d '\r' | sed -n 's/^TB count *\([0-9]*\).*/\1/p'
	exec 8<&-
}

randomised=$(blocks '')
echo "randomised: $randomised blocks"
fixed=$(blocks norandmaps)
echo "norandmaps: $fixed blocks"
[ "$randomised" -gt $((2 * fixed)) ] || { echo 'that has changed' >&2; exit 1; }
