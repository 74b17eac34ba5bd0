// SPDX-License-Identifier: GPL-2.0-only
/*
 * The device-mapper target "qcow2": how dm's calls reach the rest.
 */
#include <linux/module.h>
#include <linux/slab.h>

#include "compat.h"
#include "format/header.h"
#include "format/table.h"
#include "image/activate.h"
#include "image/data-file.h"
#include "io/bio.h"
#include "io/dev.h"
#include "io/discard.h"
#include "io/request.h"
#include "io/view.h"
#include "limits.h"
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
	/* What is missing of one is written beside others, to which the guest writes. */
	if (dev->img->file.is_writable &&
	    qcow2_unit_bytes(&dev->img->geo) < dev->img->file.io_align) {
		ti->error = "Subclusters are smaller than the layer's direct I/O alignment";
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
	err = dev->img->file.bdev ? sync_blockdev(dev->img->file.bdev) : 0;
	if (!err)
		err = qcow2_read_header(dev->img, &h, &why);
	if (!err)
		err = qcow2_data_check(dev->img, &h, &why);
	if (err) {
		ti->error = (char *)why;
		return err;
	}
	if (!h.backing_offset != !dev->img->base) {
		ti->error = dev->img->base ?
			    "Table has an image below one that has no backing file" :
			    "Image has a backing file that the table lacks";
		return -EINVAL;
	}
	qcow2_geometry_init(&dev->img->geo, &h);
	return check_geometry(dev, ti);
}

static void set_target(struct qcow2_dev *dev, struct dm_target *ti)
{
	ti->private = dev;
	ti->num_flush_bios = 1;
	ti->flush_supported = true;
	ti->num_discard_bios = qcow2_offers_discard(dev);
	ti->discards_supported = qcow2_offers_discard(dev);
	ti->num_write_zeroes_bios = qcow2_offers_zeroes(dev);
	ti->per_io_data_size = sizeof(struct qcow2_request);
}

/* Open the chain, and everything that works on it. */
static int build(struct qcow2_dev *dev, struct dm_target *ti, const struct qcow2_table *table)
{
	int err;

	err = qcow2_bases_open(&dev->bases, ti, table);
	if (err)
		return err;
	dev->img->base = qcow2_bases_top(&dev->bases);
	err = qcow2_file_open(&dev->img->file, ti, table, qcow2_table_top(table));
	if (err)
		goto err_bases;
	err = qcow2_data_open(dev->img, ti, table, qcow2_table_top(table));
	if (err)
		goto err_close;
	err = load_header(dev, ti);
	if (err)
		goto err_data;
	err = qcow2_dev_init(dev);
	if (err) {
		ti->error = "Out of memory";
		goto err_data;
	}
	return 0;

err_data:
	qcow2_data_close(dev->img, ti);
err_close:
	qcow2_file_close(&dev->img->file, ti);
err_bases:
	qcow2_bases_close(&dev->bases, ti);
	return err;
}

static int construct(struct dm_target *ti, const struct qcow2_table *table)
{
	struct qcow2_dev *dev;
	int err;

	dev = qcow2_dev_alloc(ti, table);
	if (!dev) {
		ti->error = "Out of memory";
		return -ENOMEM;
	}
	dev->full.low.bytes = table->low_space;
	err = build(dev, ti, table);
	if (err) {
		kfree(dev);
		return err;
	}
	set_target(dev, ti);
	return 0;
}

static int qcow2_target_ctr(struct dm_target *ti, unsigned int argc, char **argv)
{
	struct qcow2_table_layer *layers;
	struct qcow2_table table;
	const char *why;
	int err;

	layers = kcalloc(max(argc, 1U), sizeof(*layers), GFP_KERNEL);
	if (!layers) {
		ti->error = "Out of memory";
		return -ENOMEM;
	}
	err = qcow2_table_parse(argc, argv, layers, &table, &why);
	if (err)
		ti->error = (char *)why;
	else
		err = construct(ti, &table);
	kfree(layers);
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
	qcow2_bases_deactivate(&dev->bases);
	memalloc_noio_restore(noio);
}

static void qcow2_target_dtr(struct dm_target *ti)
{
	struct qcow2_dev *dev = ti->private;

	deactivate(dev);
	qcow2_dev_exit(dev);
	qcow2_data_close(dev->img, ti);
	qcow2_file_close(&dev->img->file, ti);
	qcow2_bases_close(&dev->bases, ti);
	kfree(dev);
}

/* Most of what would be copied while the guest waits is copied while it does not. */
static void write_ahead(struct qcow2_image *img)
{
	if (!test_bit(QCOW2_ACTIVE, &img->state))
		return;
	qcow2_fills_hold_few(img);
	qcow2_fills_release_few(img);
}

/*
 * dm waits for two grace periods of SRCU, one right behind the other, and so takes the second for
 * one of many that nobody is in a hurry for: three jiffies. Under the file system of a suspend with
 * flush it may take long, and so that does without.
 */
static void hurry(struct qcow2_dev *dev)
{
	dev->is_hurried = dm_noflush_suspending(dev->ti);
	if (dev->is_hurried)
		rcu_expedite_gp();
}

static void hurry_no_more(struct qcow2_dev *dev)
{
	if (dev->is_hurried)
		rcu_unexpedite_gp();
	dev->is_hurried = false;
}

/* What waits for space may go back to dm, if dm takes it; see full.c. */
static void qcow2_target_presuspend(struct dm_target *ti)
{
	struct qcow2_dev *dev = ti->private;

	write_ahead(dev->img);
	hurry(dev);
	set_bit(QCOW2_SUSPENDING, &dev->img->state);
	smp_mb__after_atomic(); /* pairs with smp_mb() of who begins an instant */
	/* What was kept begins to go as long as everything runs; nothing waits for that here. */
	qcow2_instant_give_up(dev->img, QCOW2_INSTANT_SUSPENDED);
	qcow2_space_release_waiters(dev->img);
	qcow2_park_release(dev);
	qcow2_pace_release(dev);
}

static void qcow2_target_presuspend_undo(struct dm_target *ti)
{
	struct qcow2_dev *dev = ti->private;

	clear_bit(QCOW2_SUSPENDING, &dev->img->state);
	hurry_no_more(dev);
}

static void qcow2_target_postsuspend(struct dm_target *ti)
{
	struct qcow2_dev *dev = ti->private;

	deactivate(dev);
	hurry_no_more(dev);
}

static int activate(struct qcow2_dev *dev)
{
	unsigned int noio;
	int err;

	if (test_bit(QCOW2_ACTIVE, &dev->img->state))
		return 0;
	/* Writeback to this very device waits until it is resumed. */
	noio = memalloc_noio_save();
	err = qcow2_bases_activate(&dev->bases, qcow2_name(dev->img));
	if (!err) {
		dev->img->file.top.has_failed |= qcow2_bases_have_failed(&dev->bases);
		err = qcow2_activate(dev->img);
		if (err)
			qcow2_bases_deactivate(&dev->bases);
	}
	memalloc_noio_restore(noio);
	return err;
}

static int qcow2_target_preresume(struct dm_target *ti)
{
	struct qcow2_dev *dev = ti->private;

	if (!qcow2_limits_fit(dev)) {
		DMERR("%s: the limits of the table before do not suit this image's file",
		      qcow2_name(dev->img));
		return -EINVAL;
	}
	return activate(dev);
}

/**
 * struct iteration - a call of .iterate_devices
 * @ti: the target
 * @fn: what is called
 * @data: its argument
 */
struct iteration {
	struct dm_target *ti;
	iterate_devices_callout_fn fn;
	void *data;
};

static int visit(const struct iteration *it, struct dm_dev *dev)
{
	return dev ? it->fn(it->ti, dev, 0, bdev_nr_sectors(dev->bdev), it->data) : 0;
}

static int qcow2_target_iterate_devices(struct dm_target *ti, iterate_devices_callout_fn fn,
					void *data)
{
	const struct iteration it = { ti, fn, data };
	struct qcow2_dev *dev = ti->private;
	int result = 0;

	for (unsigned int i = 0; i < dev->bases.count && !result; i++)
		result = visit(&it, dev->bases.users[i].files[0].dev) ?:
			 visit(&it, dev->bases.users[i].files[1].dev);
	if (!result)
		result = visit(&it, dev->img->file.top.dev);
	if (!result && qcow2_has_data_file(dev->img))
		result = visit(&it, qcow2_data_file(dev->img)->top.dev);
	return result;
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
	.io_hints = qcow2_limits_set,
};

static int __init dm_qcow2_init(void)
{
	int err;

	err = qcow2_cpu_queues_init();
	if (err)
		return err;
	err = dm_register_target(&qcow2_target);
	if (err)
		goto err_queues;
	err = dm_register_target(&qcow2_view_target);
	if (err)
		goto err_target;
	return 0;

err_target:
	dm_unregister_target(&qcow2_target);
err_queues:
	qcow2_cpu_queues_exit();
	return err;
}

static void __exit dm_qcow2_exit(void)
{
	dm_unregister_target(&qcow2_view_target);
	dm_unregister_target(&qcow2_target);
	qcow2_cpu_queues_exit();
	rcu_barrier(); /* metadata pages on their way out */
}

module_init(dm_qcow2_init);
module_exit(dm_qcow2_exit);

MODULE_DESCRIPTION("device-mapper target for qcow2 images");
MODULE_LICENSE("GPL");
