// SPDX-License-Identifier: GPL-2.0-only
/*
 * QEMU's image locks, taken on the open file description that the kernel keeps.
 *
 * A permission in use is a shared lock on byte 100 + its bit, a permission that
 * is not shared with others one on byte 200 + its bit. Everybody takes shared
 * locks only; a conflict shows when an exclusive lock could not be had on
 * the byte that contradicts a lock of ours. The locks belong to the open file
 * description, so they last as long as dm-qcow2 keeps the file.
 */
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>

#include "lock.h"

#define USED_BASE	100
#define UNSHARED_BASE	200

enum {
	PERM_CONSISTENT_READ,
	PERM_WRITE,
	PERM_WRITE_UNCHANGED,
	PERM_RESIZE,
	NR_PERMS,
};

#define BIT(n)	(1U << (n))

/* What nobody else may do meanwhile */
#define UNSHARED	(BIT(PERM_WRITE) | BIT(PERM_RESIZE))

static unsigned int used_perms(bool read_only)
{
	return BIT(PERM_CONSISTENT_READ) | (read_only ? 0 : BIT(PERM_WRITE) | BIT(PERM_RESIZE));
}

static int lock_byte(int fd, int cmd, short type, off_t byte, short *found)
{
	struct flock fl = {
		.l_type = type,
		.l_whence = SEEK_SET,
		.l_start = byte,
		.l_len = 1,
	};

	if (fcntl(fd, cmd, &fl) < 0)
		return -errno;
	if (found)
		*found = fl.l_type;
	return 0;
}

static int take_bytes(int fd, off_t base, unsigned int perms)
{
	int bit, err;

	for (bit = 0; bit < NR_PERMS; bit++) {
		if (!(perms & BIT(bit)))
			continue;
		err = lock_byte(fd, F_OFD_SETLK, F_RDLCK, base + bit, NULL);
		if (err)
			return err;
	}
	return 0;
}

static int probe_bytes(int fd, off_t base, unsigned int perms)
{
	short found;
	int bit, err;

	for (bit = 0; bit < NR_PERMS; bit++) {
		if (!(perms & BIT(bit)))
			continue;
		err = lock_byte(fd, F_OFD_GETLK, F_WRLCK, base + bit, &found);
		if (err)
			return err;
		if (found != F_UNLCK)
			return -EAGAIN;
	}
	return 0;
}

/**
 * lock_image() - lock an image as QEMU locks a disk that a guest uses
 * @fd: the description that goes to the kernel; closing it drops the locks
 * @read_only: take a reader's locks, which keep writers out only
 *
 * Return: 0, -EAGAIN when somebody else uses the image, another -errno.
 */
int lock_image(int fd, bool read_only)
{
	int err = lock_image_too(fd, read_only);

	if (!err)
		err = probe_bytes(fd, UNSHARED_BASE, used_perms(read_only));
	if (!err)
		err = probe_bytes(fd, USED_BASE, UNSHARED);
	return err;
}

/**
 * lock_image_too() - the same for an image whose locks are ours already
 * @fd: another description of it
 * @read_only: as above
 *
 * What is held already may contradict these, and keeps others out. Return: 0 or -errno.
 */
int lock_image_too(int fd, bool read_only)
{
	int err = take_bytes(fd, USED_BASE, used_perms(read_only));

	return err ? err : take_bytes(fd, UNSHARED_BASE, UNSHARED);
}
