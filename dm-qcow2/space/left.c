// SPDX-License-Identifier: GPL-2.0-only
/*
 * How much space the host has left for an image, for who wants to be told in time.
 *
 *	block device:	its size - clusters in use + clusters that are ready
 *	file:		what the file system has + clusters that are ready
 *	data file:	if that is a file, what its file system has; else that of the image
 *
 * Of a block device, clusters in use are those with a refcount: scan.c counts them once an
 * activation, refcount.c tells of changes. What could not be read counts as in use. Until all are
 * counted, nothing is known.
 *
 * Of a file system it is what statfs says of the directory that the file is in, which has the
 * directory's quota in it, where there is one. (Nobody knows that of the file.) It is asked by the
 * space thread, after what requests wait for, and not for each of them:
 *
 *	the thread has prepared clusters, or freed some	-- each time
 *	the image was committed		-- a second after the last time: a write in place
 *					   may have needed space, too
 *	somebody asks for the status	-- the same, and gets what was known
 *
 * An idle image is not looked at.
 */
#include <linux/dcache.h>
#include <linux/overflow.h>
#include <linux/statfs.h>

#include "space.h"

#define UNKNOWN		U64_MAX
#define INTERVAL	HZ

/* Whose file system is asked: of what grows most; NULL if the image's device is what counts. */
static const struct qcow2_file *asked_file(const struct qcow2_image *img)
{
	if (qcow2_is_file(img->data))
		return qcow2_data_file(img);
	return qcow2_is_file(img) ? &img->file : NULL;
}

bool qcow2_left_is_counted(const struct qcow2_image *img)
{
	return READ_ONCE(img->space->left.is_on) && !asked_file(img);
}

void qcow2_left_note_used(struct qcow2_image *img, u64 cluster, s64 more)
{
	if (qcow2_left_is_counted(img) && qcow2_scan_has_counted(img, cluster))
		img->space->left.used += more;
}

static u64 ready_bytes(const struct qcow2_image *img)
{
	return READ_ONCE(img->space->nr_ready) << img->geo.cluster_bits;
}

/* What is not left of a block device. */
static u64 device_taken(const struct qcow2_image *img)
{
	u64 used, uncounted;

	if (!qcow2_scan_uncounted(img, &uncounted))
		return UNKNOWN;
	used = (img->space->left.used + uncounted) << img->geo.cluster_bits;
	return used - min(used, ready_bytes(img));
}

/* What a file's file system has. Some do not know their size, and say 0. */
static u64 host_left(const struct qcow2_image *img, const struct qcow2_file *f)
{
	const struct path *file = &f->filp->f_path;
	u64 ready = f == &img->file ? ready_bytes(img) : 0;
	struct path dir = { .mnt = file->mnt, .dentry = dget_parent(file->dentry) };
	struct kstatfs st;
	u64 bytes;
	int err;

	err = vfs_statfs(&dir, &st);
	dput(dir.dentry);
	if (err || !st.f_blocks)
		return UNKNOWN;
	if (check_mul_overflow((u64)st.f_bavail, (u64)st.f_frsize, &bytes) ||
	    check_add_overflow(bytes, ready, &bytes))
		return UNKNOWN - 1;
	return bytes;
}

bool qcow2_left_bytes(const struct qcow2_image *img, u64 *bytes)
{
	u64 known = READ_ONCE(img->space->left.bytes);
	u64 size;

	if (known == UNKNOWN || qcow2_failed(img))
		return false;
	*bytes = known;
	if (!asked_file(img)) {
		size = round_down(qcow2_file_bytes(&img->file), qcow2_cluster_bytes(&img->geo));
		*bytes = size - min(size, known);
	}
	return true;
}

void qcow2_left_look(struct qcow2_image *img)
{
	struct qcow2_space *s = img->space;
	const struct qcow2_file *f = asked_file(img);
	unsigned long delay;
	u64 bytes;

	/* pairs with qcow2_left_start(): what scan.c has is of this activation */
	if (!smp_load_acquire(&s->left.is_on) || qcow2_failed(img))
		return;
	WRITE_ONCE(s->left.looked, jiffies);
	WRITE_ONCE(s->left.bytes, f ? host_left(img, f) : device_taken(img));
	if (!qcow2_left_bytes(img, &bytes))
		return;
	delay = qcow2_full_note_left(img, bytes, f ? 0 : qcow2_file_bytes(&img->file));
	if (delay)
		kthread_mod_delayed_work(s->worker, &s->left.look, delay);
}

void qcow2_left_work(struct kthread_work *work)
{
	struct qcow2_image *img = container_of(work, struct qcow2_space, left.look.work)->img;
	unsigned int noio = qcow2_worker_enter();

	qcow2_left_look(img);
	memalloc_noio_restore(noio);
}

void qcow2_left_look_soon(struct qcow2_image *img)
{
	struct qcow2_left *left = &img->space->left;
	unsigned long next = READ_ONCE(left->looked) + INTERVAL;

	if (READ_ONCE(left->is_on))
		kthread_mod_delayed_work(img->space->worker, &left->look,
					 time_before(jiffies, next) ? next - jiffies : 0);
}

void qcow2_left_init(struct qcow2_left *left)
{
	left->bytes = UNKNOWN;
	kthread_init_delayed_work(&left->look, qcow2_left_work);
}

void qcow2_left_start(struct qcow2_image *img)
{
	struct qcow2_left *left = &img->space->left;

	left->used = 0;
	WRITE_ONCE(left->bytes, UNKNOWN);
	WRITE_ONCE(left->looked, jiffies - INTERVAL);
	/* pairs with qcow2_left_look(): somebody may have it called at once */
	smp_store_release(&left->is_on, img->full->low.bytes);
}

void qcow2_left_stop(struct qcow2_image *img)
{
	WRITE_ONCE(img->space->left.is_on, false);
	kthread_cancel_delayed_work_sync(&img->space->left.look);
	WRITE_ONCE(img->space->left.bytes, UNKNOWN);
}
