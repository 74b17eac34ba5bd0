// SPDX-License-Identifier: GPL-2.0-only
/*
 * hold-kvm: have one KVM virtual machine, without processors, for as long as this process lives. It goes to the
 * background once the machine is there.
 *
 * The kernel patches __schedule() when the first virtual machine is made and when the last one goes (its static
 * key preempt_notifier_key). QEMU before 8.1 may translate a page while another processor of an emulated machine
 * patches it, and keep the INT3 that stood there in between: the kernel dies of a breakpoint that its memory no
 * longer has. Two processes that switch all the time and machines that come and go show it in seconds.
 */

#include <err.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <sys/ioctl.h>
#include <unistd.h>

int main(void)
{
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);

	if (kvm < 0)
		err(1, "/dev/kvm");
	if (ioctl(kvm, KVM_CREATE_VM, 0) < 0)
		err(1, "KVM_CREATE_VM");
	if (daemon(0, 0))
		err(1, "daemon");
	for (;;)
		pause();
}
