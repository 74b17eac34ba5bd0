// SPDX-License-Identifier: GPL-2.0-only
/*
 * The device-mapper target "qcow2": how dm's calls reach the rest.
 */
#include <linux/module.h>
#include <linux/slab.h>

#include "io/blocks.h"
#include "format/header.h"
#include "lease/lease.h"
#include "io/map.h"
#include "qcow2.h"
#include "io/request.h"
#include "status.h"
#include "format/table.h"

/* To a device, if what is mapped lies on one that can be reached from here. */
static bool remap(struct qcow2 *q, struct bio *bio, struct qcow2_run *run,
		  struct qcow2_mapping *m)
{
	if (qcow2_is_file(q))
		return qcow2_layout_map(q->layer.layout, bio, m->host_off, m->is_fresh, &m->bytes,
					&run->layout_io);
	bio_set_dev(bio, q->layer.dev->bdev);
	bio->bi_iter.bi_sector = m->host_off >> SECTOR_SHIFT;
	return true;
}

/* A run of host clusters; from here on the end of the bio leaves the read section. */
static int map_data(struct qcow2 *q, struct bio *bio, struct qcow2_run *run,
		    struct qcow2_mapping *m)
{
	bool is_remapped = remap(q, bio, run, m);

	if (m->bytes < bio->bi_iter.bi_size)
		dm_accept_partial_bio(bio, m->bytes >> SECTOR_SHIFT);
	if (is_remapped)
		return DM_MAPIO_REMAPPED;
	run->q = q;
	run->bio = bio;
	run->host_off = m->host_off;
	run->done = 0;
	if (unlikely(!q->layer.may_nowait))
		qcow2_run_queue_slow(run);
	else if (!qcow2_plug_add(run))
		qcow2_cpu_queue_add(run);
	return DM_MAPIO_SUBMITTED;
}

/* A FUA write completes when its entry is durable, too: the slow pool commits. */
static bool needs_commit(const struct qcow2 *q, const struct bio *bio,
			 const struct qcow2_mapping *m)
{
	return bio->bi_opf & REQ_FUA && (qcow2_is_file(q) || !m->is_durable);
}

/*
 * @fits: the layer can take it as it is; if not, only zeroes are read at once. Where blocks
 * are sectors everything fits, which the compiler shall know.
 */
static __always_inline int map_rw(struct qcow2 *q, struct bio *bio, struct qcow2_run *run,
				  bool fits)
{
	u64 guest_off = dm_target_offset(q->ti, bio->bi_iter.bi_sector) << SECTOR_SHIFT;
	bool is_write = op_is_write(bio_op(bio));
	struct qcow2_mapping m;
	int result, srcu_idx;

	srcu_idx = qcow2_inflight_enter(q);
	result = qcow2_map(q, guest_off, bio->bi_iter.bi_size, is_write, &m);
	if (likely(result == QCOW2_MAP_DATA && fits && !needs_commit(q, bio, &m))) {
		run->srcu_idx = srcu_idx;
		return map_data(q, bio, run, &m);
	}
	qcow2_inflight_leave(q, srcu_idx);
	if (result == QCOW2_MAP_ZERO) {
		if (m.bytes < bio->bi_iter.bi_size)
			dm_accept_partial_bio(bio, m.bytes >> SECTOR_SHIFT);
		zero_fill_bio(bio);
		bio_endio(bio);
		return DM_MAPIO_SUBMITTED;
	}
	qcow2_request_slow(q, bio);
	return DM_MAPIO_SUBMITTED;
}

/* A layer of blocks that are larger than sectors. */
static noinline int map_blocks(struct qcow2 *q, struct bio *bio, struct qcow2_run *run)
{
	bool fits = qcow2_blocks_fit(q, bio, bio->bi_iter);

	if (!op_is_write(bio_op(bio)))
		return map_rw(q, bio, run, fits);
	if (!qcow2_blocks_enter(q, bio))
		return DM_MAPIO_SUBMITTED;
	if (fits)
		return map_rw(q, bio, run, true);
	qcow2_request_slow(q, bio);
	return DM_MAPIO_SUBMITTED;
}

static int qcow2_target_map(struct dm_target *ti, struct bio *bio)
{
	struct qcow2_request *rq = dm_per_bio_data(bio, sizeof(*rq));
	struct qcow2 *q = ti->private;

	rq->run.srcu_idx = -1;
	rq->run.is_tracked = false;
	rq->run.layout_io.idx = -1;
	if (unlikely(bio->bi_opf & REQ_PREFLUSH)) { /* the empty flush that dm sends */
		qcow2_commit_bio(q, bio);
		return DM_MAPIO_SUBMITTED;
	}
	if (unlikely(op_is_write(bio_op(bio)) && (qcow2_failed(q) || !q->layer.is_writable)))
		return DM_MAPIO_KILL;
	if (unlikely(qcow2_has_blocks(q)))
		return map_blocks(q, bio, &rq->run);
	return map_rw(q, bio, &rq->run, true);
}

static int qcow2_target_end_io(struct dm_target *ti, struct bio *bio, blk_status_t *error)
{
	struct qcow2_request *rq = dm_per_bio_data(bio, sizeof(*rq));
	struct qcow2 *q = ti->private;
	int srcu_idx = rq->run.srcu_idx;

	if (rq->run.layout_io.idx >= 0)
		qcow2_layout_leave(q->layer.layout, bio, &rq->run.layout_io);
	if (unlikely(*error == BLK_STS_NOSPC) && qcow2_request_wants_space(q, bio)) {
		rq->run.srcu_idx = -1;
		qcow2_request_slow(q, bio);
		qcow2_inflight_leave(q, srcu_idx);
		return DM_ENDIO_INCOMPLETE;
	}
	/* With its extent settled, and before its read section ends: then the image may go. */
	if (unlikely(rq->run.is_tracked))
		qcow2_blocks_leave(q, bio);
	if (srcu_idx >= 0)
		qcow2_inflight_leave(q, srcu_idx);
	return DM_ENDIO_DONE;
}

static int check_geometry(struct qcow2 *q, struct dm_target *ti)
{
	if (ti->begin || ti->len != q->geo.size >> SECTOR_SHIFT) {
		ti->error = "Table length is not the size of the image";
		return -EINVAL;
	}
	if (qcow2_page_bytes(&q->geo) < q->layer.io_align) {
		ti->error = "Clusters or pages are smaller than the layer's direct I/O alignment";
		return -EOPNOTSUPP;
	}
	return 0;
}

static int load_header(struct qcow2 *q, struct dm_target *ti)
{
	struct qcow2_header h;
	const char *why;
	int err;

	why = "Page cache of the layer cannot be written";
	err = q->layer.dev ? sync_blockdev(q->layer.dev->bdev) : 0;
	if (!err)
		err = qcow2_read_header(q, &h, &why);
	if (err) {
		ti->error = (char *)why;
		return err;
	}
	qcow2_geometry_init(&q->geo, &h);
	return check_geometry(q, ti);
}

/* Everything that starts threads or holds memory, in the order it is used. */
static int init_parts(struct qcow2 *q)
{
	int err;

	err = init_srcu_struct(&q->inflight);
	if (err)
		return err;
	err = qcow2_metacache_init(q, q->cache_mb);
	if (err)
		goto err_srcu;
	err = qcow2_request_init(q);
	if (err)
		goto err_metacache;
	err = qcow2_commit_init(q);
	if (err)
		goto err_request;
	err = qcow2_space_init(q);
	if (err)
		goto err_commit;
	err = qcow2_blocks_init(q);
	if (err)
		goto err_space;
	err = qcow2_slow_init(q);
	if (err)
		goto err_blocks;
	return 0;

err_blocks:
	qcow2_blocks_exit(q);
err_space:
	qcow2_space_exit(q);
err_commit:
	qcow2_commit_exit(q);
err_request:
	qcow2_request_exit(q);
err_metacache:
	qcow2_metacache_exit(q);
err_srcu:
	cleanup_srcu_struct(&q->inflight);
	return err;
}

static void exit_parts(struct qcow2 *q)
{
	qcow2_park_exit(q);
	qcow2_slow_exit(q);
	qcow2_blocks_exit(q);
	qcow2_space_exit(q);
	qcow2_commit_exit(q);
	qcow2_request_exit(q);
	qcow2_metacache_exit(q);
	cleanup_srcu_struct(&q->inflight);
}

static struct qcow2 *alloc_image(struct dm_target *ti, const struct qcow2_table *table)
{
	struct qcow2 *q = kzalloc(sizeof(*q), GFP_KERNEL);

	if (!q)
		return NULL;
	q->ti = ti;
	q->cache_mb = table->cache_mb;
	q->no_space_error = table->no_space_error;
	q->no_layouts = table->no_layouts;
	mutex_init(&q->header_lock);
	mutex_init(&q->sync_lock);
	qcow2_corrupt_init(q);
	qcow2_full_init(q);
	qcow2_park_init(q);
	for (int i = 0; i < QCOW2_COPY_MUTEXES; i++)
		mutex_init(&q->copy_mutex[i]);
	return q;
}

static void set_target(struct qcow2 *q, struct dm_target *ti)
{
	ti->private = q;
	ti->num_flush_bios = 1;
	ti->flush_supported = true;
	ti->per_io_data_size = sizeof(struct qcow2_request);
}

static int qcow2_target_ctr(struct dm_target *ti, unsigned int argc, char **argv)
{
	struct qcow2_table table;
	const char *why;
	struct qcow2 *q;
	int err;

	err = qcow2_table_parse(argc, argv, &table, &why);
	if (err) {
		ti->error = (char *)why;
		return err;
	}
	q = alloc_image(ti, &table);
	if (!q) {
		ti->error = "Out of memory";
		return -ENOMEM;
	}
	err = qcow2_layer_open(&q->layer, ti, &table);
	if (err)
		goto err_free;
	err = load_header(q, ti);
	if (err)
		goto err_close;
	err = init_parts(q);
	if (err) {
		ti->error = "Out of memory";
		goto err_close;
	}
	set_target(q, ti);
	return 0;

err_close:
	qcow2_layer_close(&q->layer, ti);
err_free:
	kfree(q);
	return err;
}

static void qcow2_target_dtr(struct dm_target *ti)
{
	struct qcow2 *q = ti->private;

	qcow2_deactivate(q);
	exit_parts(q);
	qcow2_layer_close(&q->layer, ti);
	kfree(q);
}

/* What waits for space may go back to dm, if dm takes it; see full.c. */
static void qcow2_target_presuspend(struct dm_target *ti)
{
	struct qcow2 *q = ti->private;

	set_bit(QCOW2_SUSPENDING, &q->state);
	qcow2_space_release_waiters(q);
	qcow2_park_release(q);
}

static void qcow2_target_presuspend_undo(struct dm_target *ti)
{
	struct qcow2 *q = ti->private;

	clear_bit(QCOW2_SUSPENDING, &q->state);
}

static void qcow2_target_postsuspend(struct dm_target *ti)
{
	qcow2_deactivate(ti->private);
}

/*
 * A device looks at a buffer as a whole. A file system looks at each page of what we hand on:
 * its part of the buffer has to begin and end where a block does. Where blocks are larger
 * than sectors, what is not aligned is copied.
 */
static u32 memory_alignment(const struct qcow2_layer *l)
{
	if (l->io_align > SECTOR_SIZE)
		return SECTOR_SIZE;
	return l->dev ? l->mem_align : max(l->mem_align, l->io_align);
}

/* dm lets a table without devices, one on a file, keep the limits of the table before it. */
static bool fits_limits(const struct qcow2 *q)
{
	struct block_device *bdev = dm_disk(q->layer.md)->part0;

	return bdev_dma_alignment(bdev) + 1 >= memory_alignment(&q->layer) &&
	       (bdev_stable_writes(bdev) || !qcow2_layer_needs_stable_writes(&q->layer));
}

static int qcow2_target_preresume(struct dm_target *ti)
{
	struct qcow2 *q = ti->private;

	if (!fits_limits(q)) {
		DMERR("%s: the limits of the table before do not suit this image's file",
		      qcow2_name(q));
		return -EINVAL;
	}
	return qcow2_activate(q);
}

static int qcow2_target_iterate_devices(struct dm_target *ti, iterate_devices_callout_fn fn,
					void *data)
{
	struct qcow2 *q = ti->private;

	if (!q->layer.dev)
		return 0;
	return fn(ti, q->layer.dev, 0, bdev_nr_sectors(q->layer.dev->bdev), data);
}

static void qcow2_target_io_hints(struct dm_target *ti, struct queue_limits *limits)
{
	struct qcow2 *q = ti->private;

	/* Whatever the host's disk has, the guest's has the sectors that QEMU gives it. */
	limits->logical_block_size = SECTOR_SIZE;
	limits->physical_block_size = max(limits->physical_block_size, q->layer.io_align);
	limits->io_min = max(limits->io_min, q->layer.io_align);
	limits->dma_alignment = max(limits->dma_alignment, memory_alignment(&q->layer) - 1);
	if (qcow2_layer_needs_stable_writes(&q->layer))
		limits->features |= BLK_FEAT_STABLE_WRITES;
	/* Not there yet. */
	limits->max_hw_discard_sectors = 0;
	limits->max_write_zeroes_sectors = 0;
}

static struct target_type qcow2_target = {
	.name = "qcow2",
	.version = { 1, 0, 0 },
	.features = DM_TARGET_NOWAIT,
	.module = THIS_MODULE,
	.ctr = qcow2_target_ctr,
	.dtr = qcow2_target_dtr,
	.map = qcow2_target_map,
	.end_io = qcow2_target_end_io,
	.presuspend = qcow2_target_presuspend,
	.presuspend_undo = qcow2_target_presuspend_undo,
	.postsuspend = qcow2_target_postsuspend,
	.preresume = qcow2_target_preresume,
	.status = qcow2_status,
	.message = qcow2_message,
	.iterate_devices = qcow2_target_iterate_devices,
	.io_hints = qcow2_target_io_hints,
};

static int __init dm_qcow2_init(void)
{
	int err;

	err = qcow2_cpu_queues_init();
	if (err)
		return err;
	err = dm_register_target(&qcow2_target);
	if (err)
		qcow2_cpu_queues_exit();
	return err;
}

static void __exit dm_qcow2_exit(void)
{
	dm_unregister_target(&qcow2_target);
	qcow2_cpu_queues_exit();
	rcu_barrier(); /* metadata pages on their way out */
}

module_init(dm_qcow2_init);
module_exit(dm_qcow2_exit);

MODULE_DESCRIPTION("device-mapper target for qcow2 images");
MODULE_LICENSE("GPL");
