// SPDX-License-Identifier: GPL-2.0-only
/*
 * Writing dirty metadata pages from stable snapshots.
 */
#include <linux/sched.h>
#include <linux/slab.h>

#include "barrier.h"
#include "commit.h"
#include "full.h"

int qcow2_writeback_init(struct qcow2_writeback *wb, const struct qcow2_geometry *g)
{
	INIT_LIST_HEAD(&wb->pages);
	for (int i = 0; i < QCOW2_WRITEBACK_PAGES; i++)
		wb->vec[i].bytes = qcow2_page_bytes(g);
	/* Metadata is written when there is no memory, too. */
	wb->vec[0].buf = kmalloc(qcow2_page_bytes(g), GFP_KERNEL);
	wb->nr_bufs = !!wb->vec[0].buf;
	return wb->nr_bufs ? 0 : -ENOMEM;
}

static void free_bufs(struct qcow2_writeback *wb, unsigned int left)
{
	while (wb->nr_bufs > left) {
		kfree(wb->vec[--wb->nr_bufs].buf);
		wb->vec[wb->nr_bufs].buf = NULL;
	}
}

void qcow2_writeback_exit(struct qcow2_writeback *wb)
{
	free_bufs(wb, 0);
}

void qcow2_writeback_rest(struct qcow2_writeback *wb)
{
	free_bufs(wb, 1);
}

unsigned int qcow2_writeback_room(struct qcow2_writeback *wb)
{
	struct qcow2_iovec *vec;

	while (wb->nr_bufs < QCOW2_WRITEBACK_PAGES) {
		vec = &wb->vec[wb->nr_bufs];
		vec->buf = kmalloc(vec->bytes, GFP_NOIO | __GFP_NORETRY | __GFP_NOWARN);
		if (!vec->buf)
			break;
		wb->nr_bufs++;
	}
	return wb->nr_bufs;
}

/*
 * Only pages that are dirty now are written: one that gets dirty again behind
 * its snapshot waits for the next time, so this ends however busy the guest is.
 */
static void take_dirty(struct qcow2_cache *c, enum qcow2_meta_kind kind,
		       struct list_head *pages)
{
	spin_lock(&c->dirty_lock);
	list_splice_tail_init(&c->dirty[kind], pages);
	spin_unlock(&c->dirty_lock);
}

static struct qcow2_mpage *pop_dirty(struct qcow2_cache *c, struct list_head *pages)
{
	struct qcow2_mpage *p;

	p = list_first_entry_or_null(pages, struct qcow2_mpage, dirty);
	if (!p)
		return NULL;
	spin_lock(&c->dirty_lock);
	list_del_init(&p->dirty);
	if (qcow2_meta_is_mapping(p->kind))
		WRITE_ONCE(c->nr_dirty, c->nr_dirty - 1);
	spin_unlock(&c->dirty_lock);
	return p;
}

static void give_back_dirty(struct qcow2_cache *c, enum qcow2_meta_kind kind,
			    struct list_head *pages)
{
	spin_lock(&c->dirty_lock);
	list_splice_tail_init(pages, &c->dirty[kind]);
	spin_unlock(&c->dirty_lock);
}

/*
 * Copy a page that pop_dirty() returned. The writeback bit is set before the
 * dirty bit goes: a reader never sees neither before the page is durable.
 *
 * Return: the copied-data sequence number that must be durable before the write.
 */
static u64 snapshot(struct qcow2_mpage *p, struct qcow2_iovec *vec)
{
	u64 data_seq;

	spin_lock(&p->lock);
	set_bit(QCOW2_MPAGE_WRITEBACK, &p->flags);
	smp_mb__before_atomic(); /* pairs with smp_rmb() in qcow2_mpage_is_durable() */
	clear_bit(QCOW2_MPAGE_DIRTY, &p->flags);
	memcpy(vec->buf, p->data, vec->bytes);
	vec->host_off = p->host_off;
	data_seq = p->data_seq;
	spin_unlock(&p->lock);
	return data_seq;
}

/* Data copied up to @needed was written before the snapshot: flush it now. */
static int flush_copied_data(struct qcow2_image *img, struct qcow2_writeback *wb, u64 needed)
{
	u64 now;
	int err;

	if (needed <= wb->data_durable)
		return 0;
	now = atomic64_read(&img->commit->data_seq);
	err = qcow2_barrier(img, QCOW2_BARRIER_COMMIT_DATA);
	if (!err)
		wb->data_durable = now;
	return err;
}

/* The image fails with its metadata, so that waits for space whatever writes do. */
int qcow2_writeback_write(struct qcow2_image *img, struct qcow2_writeback *wb, unsigned int count)
{
	unsigned long since = jiffies;
	int err;

	do {
		err = qcow2_file_rw(&img->file, REQ_OP_WRITE, wb->vec, count);
	} while (qcow2_full_wait(img, err, since));
	WRITE_ONCE(img->is_written, true);
	return err;
}

/* Write as many pages as there is room for. Return: how many, or an error. */
static int write_some(struct qcow2_image *img, struct qcow2_writeback *wb,
		      struct list_head *pages)
{
	unsigned int count = 0, room;
	struct qcow2_mpage *p;
	u64 needed = 0;
	int err;

	if (list_empty(pages))
		return 0;
	room = qcow2_writeback_room(wb);
	while (count < room) {
		p = pop_dirty(&img->cache, pages);
		if (!p)
			break;
		needed = max(needed, snapshot(p, &wb->vec[count++]));
		list_add_tail(&p->writeback, &wb->pages);
	}
	if (!count)
		return 0;
	err = flush_copied_data(img, wb, needed);
	if (!err)
		err = qcow2_writeback_write(img, wb, count);
	if (err)
		qcow2_fail(img, "writing metadata", err);
	return err ?: count;
}

int qcow2_writeback_kind(struct qcow2_image *img, struct qcow2_writeback *wb,
			 enum qcow2_meta_kind kind)
{
	LIST_HEAD(pages);
	int ret;

	if (qcow2_failed(img))
		return -EIO;
	take_dirty(&img->cache, kind, &pages);
	do {
		ret = write_some(img, wb, &pages);
	} while (ret > 0);
	give_back_dirty(&img->cache, kind, &pages);
	return ret;
}

void qcow2_writeback_end(struct qcow2_image *img, struct qcow2_writeback *wb, int err)
{
	struct qcow2_mpage *p, *next;

	list_for_each_entry_safe(p, next, &wb->pages, writeback) {
		list_del_init(&p->writeback);
		spin_lock(&p->lock);
		if (err)
			qcow2_mpage_mark_dirty(img, p);
		clear_bit(QCOW2_MPAGE_WRITEBACK, &p->flags);
		spin_unlock(&p->lock);
		qcow2_mpage_put(p);
	}
}
