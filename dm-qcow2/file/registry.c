// SPDX-License-Identifier: GPL-2.0-only
/*
 * The registry of files in use.
 *
 * dm's own holder of a block device is shared by all dm devices, and files have
 * none. So one module-wide list, keyed by inode, says which table uses which image:
 *  - one mapped device may hold an image for writing, and then nobody else any;
 *  - any number of them may have it as a backing image, and share the open file; a table
 *    has it once. While a table is replaced, one that is active may write to what another one
 *    of the same mapped device is going to have as a backing image;
 *  - during a reload the old and the new table of one mapped device both hold
 *    it, and share the open file description, so that its locks stay;
 *  - of those two, one is active at a time, and only that one does I/O;
 *  - what one of them failed to write, the other must not call durable: they
 *    share that failure, too.
 */
#include <linux/file.h>
#include <linux/mutex.h>

#include "registry.h"

static DEFINE_MUTEX(registry_lock);
static LIST_HEAD(registry);

bool qcow2_file_is_same(const struct qcow2_file *a, const struct qcow2_file *b)
{
	return qcow2_file_inode(a) == qcow2_file_inode(b);
}

/* The first user of the same inode behind @user, or of all. */
static struct qcow2_file_user *next_user(const struct qcow2_file *f, struct qcow2_file_user *user)
{
	lockdep_assert_held(&registry_lock);
	user = list_prepare_entry(user, &registry, node);
	list_for_each_entry_continue(user, &registry, node)
		if (qcow2_file_is_same(user->file, f))
			return user;
	return NULL;
}

/* Whether no two tables may have both. */
static bool is_conflict(const struct qcow2_file_user *a, const struct qcow2_file_user *b)
{
	return a->table == b->table ||
	       (a->md != b->md && (a->file->is_writable || b->file->is_writable));
}

static int add(struct qcow2_file_user *user)
{
	struct qcow2_file_user *other;

	for (other = next_user(user->file, NULL); other; other = next_user(user->file, other)) {
		if (is_conflict(user, other))
			return -EBUSY;
		user->has_failed |= other->md == user->md && other->has_failed;
	}
	list_add(&user->node, &registry);
	return 0;
}

int qcow2_registry_add(struct qcow2_file_user *user)
{
	int err;

	mutex_lock(&registry_lock);
	err = add(user);
	mutex_unlock(&registry_lock);
	return err;
}

/* Whether it is the top of another table of the mapped device that has @f as its top. */
static bool is_sibling(const struct qcow2_file *f, const struct qcow2_file_user *user)
{
	return user != &f->top && user == &user->file->top && user->md == f->top.md;
}

static struct qcow2_file *find_sibling(const struct qcow2_file *f)
{
	struct qcow2_file_user *user;

	for (user = next_user(f, NULL); user; user = next_user(f, user))
		if (is_sibling(f, user))
			return user->file;
	return NULL;
}

/* Use the description that has the image's locks, or is about to. */
static void share_description(struct qcow2_file *f)
{
	struct qcow2_file *sibling = find_sibling(f);

	if (!sibling || (f->is_writable && !sibling->is_writable))
		return;
	fput(f->filp);
	f->filp = get_file(sibling->filp);
	f->top.is_locked = sibling->top.is_locked;
}

int qcow2_registry_add_top(struct qcow2_file *f, bool by_path)
{
	int err;

	f->top.is_locked = !by_path;
	mutex_lock(&registry_lock);
	err = add(&f->top);
	if (!err && by_path)
		share_description(f);
	mutex_unlock(&registry_lock);
	return err;
}

void qcow2_registry_note_locked(struct qcow2_file *f)
{
	mutex_lock(&registry_lock);
	f->top.is_locked = true;
	mutex_unlock(&registry_lock);
}

void qcow2_registry_remove(struct qcow2_file_user *user)
{
	mutex_lock(&registry_lock);
	list_del(&user->node);
	mutex_unlock(&registry_lock);
}

/* Whether an active table writes to it, or any has it active that is to be written to. */
static bool has_rival(const struct qcow2_file *f)
{
	struct qcow2_file_user *user;

	for (user = next_user(f, NULL); user; user = next_user(f, user))
		if (user->is_active && (user->file->is_writable || f->is_writable))
			return true;
	return false;
}

bool qcow2_file_is_written(const struct qcow2_file *f)
{
	bool result;

	mutex_lock(&registry_lock);
	result = has_rival(f);
	mutex_unlock(&registry_lock);
	return result;
}

/* What another table of the mapped device has found out about the image. */
static void take_scan(struct qcow2_file *f)
{
	struct qcow2_file_user *user;

	if (!f->is_writable)
		return;
	for (user = next_user(f, NULL); user; user = next_user(f, user))
		if (is_sibling(f, user) && !user->is_active && !f->scan)
			swap(f->scan, user->file->scan);
}

int qcow2_file_activate(struct qcow2_file_user *user)
{
	int err = 0;

	mutex_lock(&registry_lock);
	if (has_rival(user->file)) {
		err = -EBUSY;
	} else {
		user->is_active = true;
		take_scan(user->file);
	}
	mutex_unlock(&registry_lock);
	return err;
}

void qcow2_file_deactivate(struct qcow2_file_user *user, bool has_failed)
{
	struct qcow2_file_user *other;

	mutex_lock(&registry_lock);
	user->is_active = false;
	for (other = next_user(user->file, NULL); other; other = next_user(user->file, other))
		if (has_failed && other->md == user->md)
			other->has_failed = true;
	mutex_unlock(&registry_lock);
}
