// SPDX-License-Identifier: GPL-2.0-only
/*
 * The limits that a mapped device has by its images.
 *
 * Data of any image of the chain may be asked for at once: what one of them needs holds for all.
 */
#include <linux/sizes.h>

#include "compat.h"
#include "io/dev.h"
#include "io/discard.h"
#include "limits.h"

/* A multiple of any cluster; what is as long is done step by step. */
#define MAX_UNMAP_SECTORS	(SZ_2G >> SECTOR_SHIFT)

/*
 * A device looks at a buffer as a whole. A file system looks at each page of what we hand on:
 * its part of the buffer has to begin and end where a block does. Where blocks are larger
 * than sectors, what is not aligned is copied.
 */
static u32 file_alignment(const struct qcow2_file *f)
{
	if (f->io_align > SECTOR_SIZE)
		return SECTOR_SIZE;
	return f->bdev ? f->mem_align : max(f->mem_align, f->io_align);
}

/* What has the data of a backing image. */
static const struct qcow2_file *base_file(const struct qcow2_dev *dev, unsigned int i)
{
	return qcow2_data_file(&dev->bases.users[i].base->img);
}

static u32 memory_alignment(const struct qcow2_dev *dev)
{
	u32 align = file_alignment(qcow2_data_file(dev->img));

	for (unsigned int i = 0; i < dev->bases.count; i++)
		align = max(align, file_alignment(base_file(dev, i)));
	return align;
}

bool qcow2_limits_fit(const struct qcow2_dev *dev)
{
	const struct qcow2_file *f = qcow2_data_file(dev->img);
	struct block_device *bdev = dm_disk(f->top.md)->part0;

	return bdev_dma_alignment(bdev) + 1 >= memory_alignment(dev) &&
	       (bdev_stable_writes(bdev) || !qcow2_file_needs_stable_writes(f));
}

/* All that has data; I/O on a file is not polled for, wherever it goes. */
static bool are_devices(const struct qcow2_dev *dev)
{
	for (unsigned int i = 0; i < dev->bases.count; i++)
		if (!base_file(dev, i)->bdev)
			return false;
	return qcow2_data_file(dev->img)->bdev;
}

void qcow2_limits_set(struct dm_target *ti, struct queue_limits *limits)
{
	struct qcow2_dev *dev = ti->private;
	const struct qcow2_file *f = qcow2_data_file(dev->img);

	/* Whatever the host's disk has, the guest's has the sectors that QEMU gives it. */
	limits->logical_block_size = SECTOR_SIZE;
	limits->physical_block_size = max(limits->physical_block_size, f->io_align);
	limits->io_min = max(limits->io_min, f->io_align);
	limits->dma_alignment = max(limits->dma_alignment, memory_alignment(dev) - 1);
	if (qcow2_file_needs_stable_writes(f))
		limits->features |= BLK_FEAT_STABLE_WRITES;
	if (!are_devices(dev))
		limits->features &= ~BLK_FEAT_POLL;
	limits->discard_granularity = qcow2_unit_bytes(&dev->img->geo);
	limits->discard_alignment = 0;
	limits->max_hw_discard_sectors = qcow2_offers_discard(dev) ? MAX_UNMAP_SECTORS : 0;
	limits->max_write_zeroes_sectors = qcow2_offers_zeroes(dev) ? MAX_UNMAP_SECTORS : 0;
	qcow2_limits_no_unmap_zeroes(limits);
}
