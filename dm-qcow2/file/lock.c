// SPDX-License-Identifier: GPL-2.0-only
/*
 * QEMU's image locking, for layers that the kernel opens by path.
 *
 * Each permission has two bytes of the file: 100 + bit is read-locked by those
 * who use it, 200 + bit by those who do not let others use it. An opener locks
 * its bytes first and then probes for conflicts, so that of two openers at the
 * same time at most one stays. The locks are OFD locks: they belong to the open
 * file description and go with its last reference.
 */
#include <linux/bits.h>
#include <linux/filelock.h>
#include <linux/fs.h>

#include "file.h"

#define LOCK_BASE_USED		100
#define LOCK_BASE_UNSHARED	200

#define PERM_CONSISTENT_READ	BIT(0)
#define PERM_WRITE		BIT(1)
#define PERM_RESIZE		BIT(3)
#define NR_PERMS		4

#define WRITER_USES		(PERM_CONSISTENT_READ | PERM_WRITE | PERM_RESIZE)
#define READER_USES		PERM_CONSISTENT_READ
#define NOT_SHARED		(PERM_WRITE | PERM_RESIZE)

static struct file_lock *make_lock(struct file *file, int type, loff_t byte)
{
	struct file_lock *fl = locks_alloc_lock();

	if (!fl)
		return NULL;
	fl->c.flc_type = type;
	fl->c.flc_flags = FL_POSIX | FL_OFDLCK;
	fl->c.flc_owner = file;
	fl->c.flc_file = file;
	fl->c.flc_pid = -1;
	fl->fl_start = byte;
	fl->fl_end = byte;
	return fl;
}

static int lock_byte(struct file *file, loff_t byte)
{
	struct file_lock *fl = make_lock(file, F_RDLCK, byte);
	int err;

	if (!fl)
		return -ENOLCK;
	err = vfs_lock_file(file, F_SETLK, fl, NULL);
	locks_free_lock(fl);
	return err;
}

static int probe_byte(struct file *file, loff_t byte)
{
	struct file_lock *fl = make_lock(file, F_WRLCK, byte);
	int err;

	if (!fl)
		return -ENOLCK;
	err = vfs_test_lock(file, fl);
	if (!err && fl->c.flc_type != F_UNLCK)
		err = -EAGAIN;
	locks_free_lock(fl);
	return err;
}

static int walk_perms(struct file *file, unsigned long perms, loff_t base,
		      int (*fn)(struct file *file, loff_t byte))
{
	unsigned int bit;
	int err;

	for_each_set_bit(bit, &perms, NR_PERMS) {
		err = fn(file, base + bit);
		if (err)
			return err;
	}
	return 0;
}

int qcow2_image_lock(struct file *file, bool writable)
{
	unsigned long uses = writable ? WRITER_USES : READER_USES;

	return walk_perms(file, uses, LOCK_BASE_USED, lock_byte) ?:
	       walk_perms(file, NOT_SHARED, LOCK_BASE_UNSHARED, lock_byte) ?:
	       walk_perms(file, uses, LOCK_BASE_UNSHARED, probe_byte) ?:
	       walk_perms(file, NOT_SHARED, LOCK_BASE_USED, probe_byte);
}
