// SPDX-License-Identifier: GPL-2.0-only
/*
 * A mapped device on an image: its parts, and how they come to rest.
 */
#include <linux/slab.h>

#include "image/compressed.h"
#include "image/data-file.h"

#include "blocks.h"
#include "dev.h"
#include "request.h"

/* Hooks of the rooms above */

static void requeue(struct qcow2_image *img, struct qcow2_work *work)
{
	qcow2_slow_queue(qcow2_dev_of(img), work);
}

static enum qcow2_give_up give_up(struct qcow2_image *img)
{
	return qcow2_instant_give_up(img, QCOW2_INSTANT_NO_SPACE);
}

static void init_image(struct qcow2_image *img, struct dm_target *ti)
{
	img->ti = ti;
	img->data = img;
	img->name = dm_device_name(dm_table_get_md(ti->table));
	mutex_init(&img->header_lock);
	mutex_init(&img->sync_lock);
	mutex_init(&img->bitmaps_lock);
}

struct qcow2_dev *qcow2_dev_alloc(struct dm_target *ti, const struct qcow2_table *table)
{
	struct qcow2_dev *dev = kzalloc(sizeof(*dev), GFP_KERNEL);

	if (!dev)
		return NULL;
	dev->ti = ti;
	dev->img = &dev->image;
	dev->cache_mb = table->cache_mb;
	dev->no_layouts = table->no_layouts;
	dev->discard = table->discard;
	dev->space.requeue = requeue;
	dev->space.give_up = give_up;
	init_rwsem(&dev->clearing.blocks);
	spin_lock_init(&dev->clearing.lock);
	INIT_LIST_HEAD(&dev->clearing.waiting);
	dev->full.is_error = table->no_space_error;
	dev->full.let_out = qcow2_space_release_waiters;
	init_image(dev->img, ti);
	qcow2_full_init(&dev->full, dev->img);
	qcow2_park_init(dev);
	qcow2_pace_init(dev);
	return dev;
}

/* A device that was made large enough for the image shall stay so. */
static void choose_discard(struct qcow2_dev *dev)
{
	if (dev->discard == QCOW2_DISCARD_DEFAULT)
		dev->discard = qcow2_is_file(dev->img->data) ? QCOW2_DISCARD_UNMAP :
							       QCOW2_DISCARD_KEEP;
	dev->space.gives_back = dev->discard == QCOW2_DISCARD_UNMAP;
}

/* In a raw data file holes are made while the guest waits: they are what it asks for. */
static int init_trims(struct qcow2_dev *dev)
{
	const struct qcow2_image *img = dev->img;

	if (!img->file.is_writable || dev->discard != QCOW2_DISCARD_UNMAP ||
	    !qcow2_has_data_file(img) || img->geo.has_raw_data || !qcow2_data_has_holes(img))
		return 0;
	return qcow2_trims_init(&dev->fills);
}

/* Everything that starts threads or holds memory, in the order it is used. */
int qcow2_dev_init(struct qcow2_dev *dev)
{
	int err;

	choose_discard(dev);
	err = init_srcu_struct(&dev->img->inflight);
	if (err)
		return err;
	err = qcow2_cache_init(dev->img, dev->cache_mb);
	if (err)
		goto err_srcu;
	err = qcow2_compressed_init(dev->img);
	if (err)
		goto err_cache;
	err = qcow2_request_init(dev);
	if (err)
		goto err_compressed;
	err = qcow2_commit_init(&dev->commit, dev->img);
	if (err)
		goto err_request;
	qcow2_fills_init(&dev->fills, dev->img);
	err = init_trims(dev);
	if (err)
		goto err_commit;
	dev->commit.prepare = qcow2_fills_publish;
	dev->commit.committed = qcow2_drop_committed;
	err = qcow2_space_init(&dev->space, dev->img);
	if (err)
		goto err_trims;
	err = qcow2_blocks_init(dev);
	if (err)
		goto err_space;
	err = qcow2_slow_init(dev);
	if (err)
		goto err_blocks;
	return 0;

err_blocks:
	qcow2_blocks_exit(dev);
err_space:
	qcow2_space_exit(&dev->space);
err_trims:
	qcow2_trims_exit(&dev->fills);
err_commit:
	qcow2_commit_exit(&dev->commit);
err_request:
	qcow2_request_exit(dev);
err_compressed:
	qcow2_compressed_exit(dev->img);
err_cache:
	qcow2_cache_exit(dev->img);
err_srcu:
	cleanup_srcu_struct(&dev->img->inflight);
	return err;
}

void qcow2_dev_exit(struct qcow2_dev *dev)
{
	qcow2_park_exit(dev);
	qcow2_pace_exit(dev);
	qcow2_slow_exit(dev);
	qcow2_blocks_exit(dev);
	qcow2_space_exit(&dev->space);
	qcow2_trims_exit(&dev->fills);
	qcow2_commit_exit(&dev->commit);
	qcow2_fills_exit(&dev->fills);
	qcow2_request_exit(dev);
	qcow2_compressed_exit(dev->img);
	qcow2_cache_exit(dev->img);
	/* Indices of tables that larger ones have replaced. */
	srcu_barrier(&dev->img->inflight);
	cleanup_srcu_struct(&dev->img->inflight);
}

void qcow2_dev_drain(struct qcow2_dev *dev)
{
	struct qcow2_image *img = dev->img;

	set_bit(QCOW2_LEAVING, &img->state);
	qcow2_space_release_waiters(img);
	qcow2_park_release(dev);
	qcow2_instant_thaw(img, QCOW2_INSTANT_SUSPENDED);
	qcow2_slow_drain(dev);
	synchronize_srcu(&img->inflight);
	/* Runs that found no space have become the pool's. */
	qcow2_slow_drain(dev);
	qcow2_commit_wait(img);
	qcow2_fills_abandon(img);
	/* A failed image had fills left, and who reads an instant of it may have become the pool's. */
	if (qcow2_instant_thaw(img, QCOW2_INSTANT_SUSPENDED) != -ENODATA)
		qcow2_slow_drain(dev);
	qcow2_trims_finish(img->fills);
}
