// SPDX-License-Identifier: GPL-2.0-only
/*
 * The target "qcow2-view": a read-only device that shows a frozen disk.
 *
 * It holds the frozen device open, so that this is not removed, but does not claim it: that may be
 * mounted. And it holds the instant, which may end at any time: then the image is not touched
 * any more, and all reads fail. A read that is under way at the end is asked for when it is done.
 */
#include <linux/blkdev.h>
#include <linux/module.h>
#include <linux/slab.h>

#include "cow/instant.h"
#include "image/bitmaps.h"
#include "lease/lease.h"

#include "bio.h"
#include "dev.h"
#include "request.h"
#include "view.h"

/**
 * struct view - a target of a table
 * @file: the frozen device
 * @origin: the same
 * @instant: what is shown
 */
struct view {
	struct file *file;
	struct block_device *origin;
	struct qcow2_instant *instant;
};

static int check(struct dm_target *ti, const struct view *v)
{
	if (!v->instant) {
		ti->error = "Device is not frozen";
		return -ENODATA;
	}
	if (v->origin->bd_dev == disk_devt(dm_disk(dm_table_get_md(ti->table)))) {
		ti->error = "A device cannot be a view of itself";
		return -ELOOP;
	}
	if (ti->begin || ti->len != bdev_nr_sectors(v->origin)) {
		ti->error = "Table length is not the size of the frozen device";
		return -EINVAL;
	}
	return 0;
}

static int open_origin(struct view *v, const char *path)
{
	dev_t number;
	int err;

	err = dm_devt_from_path(path, &number);
	if (err)
		return err;
	v->file = bdev_file_open_by_dev(number, BLK_OPEN_READ, NULL, NULL);
	if (IS_ERR(v->file))
		return PTR_ERR(v->file);
	v->origin = file_bdev(v->file);
	v->instant = qcow2_instant_find(number);
	return 0;
}

static void close_origin(struct view *v)
{
	if (v->instant)
		qcow2_instant_put(v->instant);
	bdev_fput(v->file);
	kfree(v);
}

static int view_ctr(struct dm_target *ti, unsigned int argc, char **argv)
{
	struct view *v;
	int err;

	if (argc != 1) {
		ti->error = "One argument is needed, the frozen device";
		return -EINVAL;
	}
	if (dm_table_get_mode(ti->table) & BLK_OPEN_WRITE) {
		ti->error = "A view is read-only";
		return -EROFS;
	}
	v = kzalloc(sizeof(*v), GFP_KERNEL);
	if (!v) {
		ti->error = "Out of memory";
		return -ENOMEM;
	}
	err = open_origin(v, argv[0]);
	if (err) {
		ti->error = "Cannot open the frozen device";
		kfree(v);
		return err;
	}
	err = check(ti, v);
	if (err) {
		close_origin(v);
		return err;
	}
	ti->private = v;
	ti->per_io_data_size = sizeof(struct qcow2_request);
	return 0;
}

static void view_dtr(struct dm_target *ti)
{
	close_origin(ti->private);
}

static int view_map(struct dm_target *ti, struct bio *bio)
{
	struct qcow2_request *rq = dm_per_bio_data(bio, sizeof(*rq));
	struct view *v = ti->private;
	struct qcow2_image *img;
	int srcu_idx;

	rq->run.srcu_idx = -1;
	rq->run.entered = 0;
	rq->run.lease_io.idx = -1;
	if (bio_op(bio) != REQ_OP_READ)
		return DM_MAPIO_KILL;
	rcu_read_lock();
	img = rcu_dereference(v->instant->readable);
	if (!img) {
		rcu_read_unlock();
		return DM_MAPIO_KILL;
	}
	/* From here on the image stays. */
	srcu_idx = qcow2_inflight_enter(img);
	rcu_read_unlock();
	rq->run.dev = qcow2_dev_of(img);
	return qcow2_bio_map_instant(rq->run.dev, v->instant, bio, srcu_idx);
}

/* The iterator of a bio that has gone on by itself is used up. */
static struct bvec_iter what_was_read(const struct qcow2_request *rq, const struct bio *bio)
{
	return rq->run.srcu_idx >= 0 ? rq->iter : bio->bi_iter;
}

static bool is_of_instant(const struct view *v, const struct qcow2_request *rq, struct bio *bio)
{
	struct bvec_iter iter = what_was_read(rq, bio);

	return qcow2_saved_show(v->instant, bio, iter) &&
	       qcow2_instant_shows(v->instant, (u64)iter.bi_sector << SECTOR_SHIFT);
}

static int view_end_io(struct dm_target *ti, struct bio *bio, blk_status_t *error)
{
	struct qcow2_request *rq = dm_per_bio_data(bio, sizeof(*rq));
	struct view *v = ti->private;

	if (!*error && !is_of_instant(v, rq, bio))
		*error = BLK_STS_IOERR;
	if (rq->run.lease_io.idx >= 0)
		qcow2_lease_leave(rq->run.file->lease, bio, &rq->run.lease_io);
	if (rq->run.srcu_idx >= 0)
		qcow2_inflight_leave(rq->run.dev->img, rq->run.srcu_idx);
	return DM_ENDIO_DONE;
}

static const char *state(const struct qcow2_instant *instant)
{
	switch (READ_ONCE(instant->state)) {
	case QCOW2_INSTANT_LASTS:
		return "frozen";
	case QCOW2_INSTANT_THAWED:
		return "thawed";
	case QCOW2_INSTANT_SUSPENDED:
		return "suspended";
	case QCOW2_INSTANT_NO_MEMORY:
		return "no_memory";
	default:
		return "no_space";
	}
}

static void view_status(struct dm_target *ti, status_type_t type, unsigned int flags,
			char *result, unsigned int maxlen)
{
	struct view *v = ti->private;
	unsigned int sz = 0;

	switch (type) {
	case STATUSTYPE_INFO:
		DMEMIT("%ld/%lu %llu %s", atomic_long_read(&v->instant->nr_pages),
		       v->instant->max_pages, READ_ONCE(v->instant->passed),
		       state(v->instant));
		break;
	case STATUSTYPE_TABLE:
		DMEMIT("%u:%u", MAJOR(v->origin->bd_dev), MINOR(v->origin->bd_dev));
		break;
	case STATUSTYPE_IMA:
		DMEMIT_TARGET_NAME_VERSION(ti->type);
		DMEMIT(",origin=%pg;", v->origin);
		break;
	}
}

static int map_message(struct view *v, u64 end, unsigned int argc, char **argv, char *result,
		       unsigned int maxlen)
{
	u64 offset;
	int err;

	if (argc < 2 || kstrtou64(argv[1], 10, &offset) || offset >= end)
		return -EINVAL;
	if (argc == 2)
		return qcow2_view_map(v->instant, offset, end, result, maxlen);
	err = qcow2_cut_map(v->instant->cut, argv[2], offset, end, result, maxlen);
	if (!err && !qcow2_instant_lasts(v->instant))
		err = -EIO;
	return err ?: 1;
}

static int bitmaps_message(struct view *v, unsigned int argc, char **argv, char *result,
			   unsigned int maxlen)
{
	unsigned int first = 0;

	if (argc > 2 || (argc == 2 && kstrtouint(argv[1], 10, &first)))
		return -EINVAL;
	qcow2_cut_list(v->instant->cut, first, result, maxlen);
	return 1;
}

/* "passed <bytes>": so much has been read, and nobody will read it again. */
static int passed_message(struct view *v, u64 end, const char *word)
{
	u64 bytes;

	if (kstrtou64(word, 10, &bytes) || bytes > end)
		return -EINVAL;
	return qcow2_instant_pass(v->instant, bytes);
}

/*
 * "map <first byte> [BITMAP]": where there is data, or what the bitmap says has changed;
 * "bitmaps [<first>]"; "used BITMAP": what it says is in a backup. Return: 1 when there is a result.
 */
static int view_message(struct dm_target *ti, unsigned int argc, char **argv, char *result,
			unsigned int maxlen)
{
	struct view *v = ti->private;

	if (argc <= 3 && !strcasecmp(argv[0], "map"))
		return map_message(v, ti->len << SECTOR_SHIFT, argc, argv, result, maxlen);
	if (!strcasecmp(argv[0], "bitmaps"))
		return bitmaps_message(v, argc, argv, result, maxlen);
	if (argc == 2 && !strcasecmp(argv[0], "passed"))
		return passed_message(v, ti->len << SECTOR_SHIFT, argv[1]);
	if (argc == 2 && !strcasecmp(argv[0], "used"))
		return qcow2_view_use_bitmap(v->instant, argv[1]);
	return -EINVAL;
}

/* What the frozen device needs; it is not one of dm's to stack on. */
static void view_io_hints(struct dm_target *ti, struct queue_limits *limits)
{
	struct view *v = ti->private;

	queue_limits_stack_bdev(limits, v->origin, 0, DM_MSG_PREFIX);
}

struct target_type qcow2_view_target = {
	.name = "qcow2-view",
	.version = { 1, 0, 0 },
	.module = THIS_MODULE,
	.ctr = view_ctr,
	.dtr = view_dtr,
	.map = view_map,
	.end_io = view_end_io,
	.status = view_status,
	.message = view_message,
	.io_hints = view_io_hints,
};
