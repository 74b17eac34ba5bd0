// SPDX-License-Identifier: GPL-2.0-only
/*
 * The device-mapper target "qcow2": how dm's calls reach the rest.
 */
#include <linux/module.h>
#include <linux/slab.h>

#include "format/header.h"
#include "format/table.h"
#include "image/activate.h"
#include "io/bio.h"
#include "io/dev.h"
#include "io/request.h"
#include "status.h"

static int check_geometry(struct qcow2_dev *dev, struct dm_target *ti)
{
	if (ti->begin || ti->len != dev->img->geo.size >> SECTOR_SHIFT) {
		ti->error = "Table length is not the size of the image";
		return -EINVAL;
	}
	if (qcow2_page_bytes(&dev->img->geo) < dev->img->file.io_align) {
		ti->error = "Clusters or pages are smaller than the layer's direct I/O alignment";
		return -EOPNOTSUPP;
	}
	return 0;
}

static int load_header(struct qcow2_dev *dev, struct dm_target *ti)
{
	struct qcow2_header h;
	const char *why;
	int err;

	why = "Page cache of the layer cannot be written";
	err = dev->img->file.dev ? sync_blockdev(dev->img->file.dev->bdev) : 0;
	if (!err)
		err = qcow2_read_header(dev->img, &h, &why);
	if (err) {
		ti->error = (char *)why;
		return err;
	}
	qcow2_geometry_init(&dev->img->geo, &h);
	return check_geometry(dev, ti);
}

static void set_target(struct qcow2_dev *dev, struct dm_target *ti)
{
	ti->private = dev;
	ti->num_flush_bios = 1;
	ti->flush_supported = true;
	ti->per_io_data_size = sizeof(struct qcow2_request);
}

static int qcow2_target_ctr(struct dm_target *ti, unsigned int argc, char **argv)
{
	struct qcow2_table table;
	const char *why;
	struct qcow2_dev *dev;
	int err;

	err = qcow2_table_parse(argc, argv, &table, &why);
	if (err) {
		ti->error = (char *)why;
		return err;
	}
	dev = qcow2_dev_alloc(ti, &table);
	if (!dev) {
		ti->error = "Out of memory";
		return -ENOMEM;
	}
	err = qcow2_file_open(&dev->img->file, ti, &table);
	if (err)
		goto err_free;
	err = load_header(dev, ti);
	if (err)
		goto err_close;
	err = qcow2_dev_init(dev);
	if (err) {
		ti->error = "Out of memory";
		goto err_close;
	}
	set_target(dev, ti);
	return 0;

err_close:
	qcow2_file_close(&dev->img->file, ti);
err_free:
	kfree(dev);
	return err;
}

static void deactivate(struct qcow2_dev *dev)
{
	unsigned int noio;

	if (!test_bit(QCOW2_ACTIVE, &dev->img->state))
		return;
	noio = memalloc_noio_save();
	qcow2_dev_drain(dev);
	qcow2_deactivate(dev->img);
	memalloc_noio_restore(noio);
}

static void qcow2_target_dtr(struct dm_target *ti)
{
	struct qcow2_dev *dev = ti->private;

	deactivate(dev);
	qcow2_dev_exit(dev);
	qcow2_file_close(&dev->img->file, ti);
	kfree(dev);
}

/* What waits for space may go back to dm, if dm takes it; see full.c. */
static void qcow2_target_presuspend(struct dm_target *ti)
{
	struct qcow2_dev *dev = ti->private;

	set_bit(QCOW2_SUSPENDING, &dev->img->state);
	qcow2_space_release_waiters(dev->img);
	qcow2_park_release(dev);
}

static void qcow2_target_presuspend_undo(struct dm_target *ti)
{
	struct qcow2_dev *dev = ti->private;

	clear_bit(QCOW2_SUSPENDING, &dev->img->state);
}

static void qcow2_target_postsuspend(struct dm_target *ti)
{
	deactivate(ti->private);
}

/*
 * A device looks at a buffer as a whole. A file system looks at each page of what we hand on:
 * its part of the buffer has to begin and end where a block does. Where blocks are larger
 * than sectors, what is not aligned is copied.
 */
static u32 memory_alignment(const struct qcow2_file *l)
{
	if (l->io_align > SECTOR_SIZE)
		return SECTOR_SIZE;
	return l->dev ? l->mem_align : max(l->mem_align, l->io_align);
}

/* dm lets a table without devices, one on a file, keep the limits of the table before it. */
static bool fits_limits(const struct qcow2_dev *dev)
{
	struct block_device *bdev = dm_disk(dev->img->file.md)->part0;

	return bdev_dma_alignment(bdev) + 1 >= memory_alignment(&dev->img->file) &&
	       (bdev_stable_writes(bdev) || !qcow2_file_needs_stable_writes(&dev->img->file));
}

static int qcow2_target_preresume(struct dm_target *ti)
{
	struct qcow2_dev *dev = ti->private;

	if (!fits_limits(dev)) {
		DMERR("%s: the limits of the table before do not suit this image's file",
		      qcow2_name(dev->img));
		return -EINVAL;
	}
	return qcow2_activate(dev->img);
}

static int qcow2_target_iterate_devices(struct dm_target *ti, iterate_devices_callout_fn fn,
					void *data)
{
	struct qcow2_dev *dev = ti->private;

	if (!dev->img->file.dev)
		return 0;
	return fn(ti, dev->img->file.dev, 0, bdev_nr_sectors(dev->img->file.dev->bdev), data);
}

static void qcow2_target_io_hints(struct dm_target *ti, struct queue_limits *limits)
{
	struct qcow2_dev *dev = ti->private;

	/* Whatever the host's disk has, the guest's has the sectors that QEMU gives it. */
	limits->logical_block_size = SECTOR_SIZE;
	limits->physical_block_size = max(limits->physical_block_size, dev->img->file.io_align);
	limits->io_min = max(limits->io_min, dev->img->file.io_align);
	limits->dma_alignment = max(limits->dma_alignment, memory_alignment(&dev->img->file) - 1);
	if (qcow2_file_needs_stable_writes(&dev->img->file))
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
	.map = qcow2_bio_map,
	.end_io = qcow2_bio_end_io,
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
