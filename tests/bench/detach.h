/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef VBLK_BENCH_DETACH_H
#define VBLK_BENCH_DETACH_H

/*
 * detach: end the use of a device, by system calls of ours and not by a program whose start would be measured.
 * how is "dm:NAME", a device-mapper device, "nbd:PID", the qemu-nbd behind /dev/nbd0, or "pid:PID", any other server.
 */
void detach(const char *how);

#endif
