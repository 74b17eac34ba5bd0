// SPDX-License-Identifier: GPL-2.0-only
/*
 * dmsetup status, table and message.
 */
#include <linux/ctype.h>
#include <linux/slab.h>

#include "image/bitmaps.h"
#include "io/dev.h"
#include "io/populate.h"
#include "lease/lease.h"

#include "status.h"

static unsigned long count_hits(const struct qcow2_dev *dev)
{
	unsigned long hits = 0;
	unsigned int cpu;

	for_each_possible_cpu(cpu)
		hits += *per_cpu_ptr(dev->img->cache.hits, cpu);
	return hits;
}

static const char *mode(const struct qcow2_dev *dev)
{
	if (qcow2_failed(dev->img))
		return "fail";
	return dev->img->file.is_writable ? "rw" : "ro";
}

/*
 * Clusters of the image up to its end, without those prepared for allocation. On
 * a block device the end is as far as the allocator has taken any.
 */
static u64 used_clusters(const struct qcow2_image *img)
{
	const struct qcow2_space *space = img->space;
	u64 end = qcow2_is_file(img) ? READ_ONCE(img->host_bytes) >> img->geo.cluster_bits :
				       max(READ_ONCE(space->cursor), READ_ONCE(space->tail));

	return end - min(end, READ_ONCE(space->nr_ready));
}

/* As last looked; whoever asks again has what is found now. */
static unsigned int emit_left(struct qcow2_dev *dev, char *result, unsigned int maxlen)
{
	unsigned int sz = 0;
	u64 left;

	if (qcow2_left_bytes(dev->img, &left))
		DMEMIT(" %llu", left);
	else
		DMEMIT(" -");
	DMEMIT("/%llu", dev->full.low.bytes);
	qcow2_left_look_soon(dev->img);
	return sz;
}

static unsigned int info(struct qcow2_dev *dev, char *result, unsigned int maxlen)
{
	int extents = qcow2_lease_extents(qcow2_data_file(dev->img)->lease);
	unsigned int sz = 0;

	DMEMIT("%llu/%llu %lu/%lu %lu/%lu %u %llu %s %s",
	       used_clusters(dev->img),
	       DIV_ROUND_UP_ULL(dev->img->geo.size, qcow2_cluster_bytes(&dev->img->geo)),
	       READ_ONCE(dev->img->cache.nr_pages), dev->img->cache.limit,
	       count_hits(dev), atomic_long_read(&dev->img->cache.misses),
	       READ_ONCE(dev->space.nr_waiting) + READ_ONCE(dev->park.nr_in_place),
	       READ_ONCE(dev->commit.durable), mode(dev),
	       test_bit(QCOW2_NEEDS_CHECK, &dev->img->state) ? "needs_check" : "-");
	if (extents < 0)
		DMEMIT(" -");
	else
		DMEMIT(" %d", extents);
	sz += emit_left(dev, result + sz, maxlen - sz);
	DMEMIT(" %u/%llu", READ_ONCE(dev->commit.nr_fills),
	       READ_ONCE(dev->space.nr_dropped) + READ_ONCE(dev->space.nr_leaving));
	return sz;
}

/* dm splits a table line at white space, of which it has more than ASCII; a backslash keeps it. */
static unsigned int emit_path(const char *path, char *result, unsigned int maxlen)
{
	unsigned int sz = 0;

	for (; *path; path++)
		DMEMIT(isspace(*path) || *path == '\\' ? "\\%c" : "%c", *path);
	return sz;
}

static unsigned int emit_file(const struct qcow2_file *f, char *buf, char *result,
			      unsigned int maxlen)
{
	char *path = buf ? file_path(f->filp, buf, PATH_MAX) : ERR_PTR(-ENOMEM);
	unsigned int sz = 0;

	sz += emit_path(IS_ERR(path) ? "?" : path, result + sz, maxlen - sz);
	DMEMIT(" ");
	return sz;
}

static unsigned int emit_layer(const struct qcow2_image *img, bool is_raw, char *buf, char *result,
			       unsigned int maxlen)
{
	unsigned int sz = 0;

	if (is_raw)
		DMEMIT("format:raw ");
	if (qcow2_has_data_file(img)) {
		DMEMIT("data:");
		sz += emit_file(qcow2_data_file(img), buf, result + sz, maxlen - sz);
	}
	sz += emit_file(&img->file, buf, result + sz, maxlen - sz);
	return sz;
}

static const char *discard_word(const struct qcow2_dev *dev)
{
	switch (dev->discard) {
	case QCOW2_DISCARD_UNMAP:
		return "unmap";
	case QCOW2_DISCARD_KEEP:
		return "keep";
	default:
		return "ignore";
	}
}

static unsigned int table(struct qcow2_dev *dev, char *result, unsigned int maxlen)
{
	char *buf = kmalloc(PATH_MAX, GFP_KERNEL);
	const struct qcow2_base *base;
	unsigned int sz = 0;

	for (unsigned int i = 0; i < dev->bases.count; i++) {
		base = dev->bases.users[i].base;
		sz += emit_layer(&base->img, base->is_raw, buf, result + sz, maxlen - sz);
	}
	sz += emit_layer(dev->img, false, buf, result + sz, maxlen - sz);
	DMEMIT("features 5 cache_mb=%u no_space=%s layouts=%s low_space=%llu discard=%s",
	       dev->cache_mb, dev->full.is_error ? "error" : "queue",
	       dev->no_layouts ? "off" : "on", dev->full.low.bytes, discard_word(dev));
	kfree(buf);
	return sz;
}

void qcow2_status(struct dm_target *ti, status_type_t type, unsigned int flags,
		  char *result, unsigned int maxlen)
{
	struct qcow2_dev *dev = ti->private;
	unsigned int sz = 0;

	switch (type) {
	case STATUSTYPE_INFO:
		info(dev, result, maxlen);
		break;
	case STATUSTYPE_TABLE:
		table(dev, result, maxlen);
		break;
	case STATUSTYPE_IMA:
		DMEMIT_TARGET_NAME_VERSION(ti->type);
		DMEMIT(",mode=%s;", mode(dev));
		break;
	}
}

static unsigned int emit_identity(const struct qcow2_file *f, char *result, unsigned int maxlen)
{
	dev_t dev = f->bdev ? f->bdev->bd_dev : f->dev;
	unsigned int sz = 0;

	DMEMIT("%u:%u", MAJOR(dev), MINOR(dev));
	if (!f->bdev)
		DMEMIT(":%llu", f->ino);
	return sz;
}

/* Which files these are, whatever their paths mean by now. */
static void images(const struct qcow2_dev *dev, char *result, unsigned int maxlen)
{
	unsigned int sz = 0;

	for (unsigned int i = 0; i < dev->bases.count; i++) {
		sz += emit_identity(&dev->bases.users[i].base->img.file, result + sz, maxlen - sz);
		DMEMIT(" ");
	}
	emit_identity(&dev->img->file, result + sz, maxlen - sz);
}

static unsigned int emit_data_identity(const struct qcow2_image *img, char *result,
				       unsigned int maxlen)
{
	unsigned int sz = 0;

	if (qcow2_has_data_file(img))
		return emit_identity(qcow2_data_file(img), result, maxlen);
	DMEMIT("-");
	return sz;
}

/* And which their data files. */
static void data_files(const struct qcow2_dev *dev, char *result, unsigned int maxlen)
{
	unsigned int sz = 0;

	for (unsigned int i = 0; i < dev->bases.count; i++) {
		sz += emit_data_identity(&dev->bases.users[i].base->img, result + sz, maxlen - sz);
		DMEMIT(" ");
	}
	emit_data_identity(dev->img, result + sz, maxlen - sz);
}

/* "freeze [MIB]": what is kept for it takes that much memory at most. */
static int freeze(struct dm_target *ti, unsigned int argc, char **argv)
{
	struct qcow2_dev *dev = ti->private;
	dev_t number = disk_devt(dm_disk(dm_table_get_md(ti->table)));
	u64 mib = QCOW2_INSTANT_MIB;

	if (argc > 2 || (argc == 2 && kstrtou64(argv[1], 10, &mib)))
		return -EINVAL;
	return qcow2_instant_begin(dev->img, number, mib);
}

static int bitmaps(struct qcow2_dev *dev, unsigned int argc, char **argv, char *result,
		   unsigned int maxlen)
{
	unsigned int first = 0;

	if (argc > 2 || (argc == 2 && kstrtouint(argv[1], 10, &first)))
		return -EINVAL;
	qcow2_bitmaps_list(dev->img, first, result, maxlen);
	return 1;
}

/* "populate FIRST SECTORS [BYTES]": the sector to go on at, and how many bytes were copied. */
static int populate(struct dm_target *ti, unsigned int argc, char **argv, char *result,
		    unsigned int maxlen)
{
	u64 first, sectors, bytes = QCOW2_POPULATE_BYTES, next, copied;
	struct qcow2_dev *dev = ti->private;
	unsigned int sz = 0;
	int err;

	if (argc < 3 || argc > 4 || kstrtou64(argv[1], 10, &first) ||
	    kstrtou64(argv[2], 10, &sectors) || (argc == 4 && kstrtou64(argv[3], 10, &bytes)))
		return -EINVAL;
	if (first > ti->len || sectors > ti->len - first || !bytes)
		return -EINVAL;
	err = qcow2_populate(dev, first << SECTOR_SHIFT, (first + sectors) << SECTOR_SHIFT,
			     min(bytes, QCOW2_POPULATE_MAX_BYTES), &next, &copied);
	if (err)
		return err;
	DMEMIT("%llu %llu", next >> SECTOR_SHIFT, copied);
	return 1;
}

/*
 * "images"; "data_files"; "bitmaps [FIRST]"; "freeze [MIB]"; "thaw"; "populate FIRST SECTORS [BYTES]"; "no_space queue"
 * or "no_space error". Return: 1 when there is a result.
 */
int qcow2_message(struct dm_target *ti, unsigned int argc, char **argv, char *result,
		  unsigned int maxlen)
{
	struct qcow2_dev *dev = ti->private;

	if (argc == 1 && !strcasecmp(argv[0], "images")) {
		images(dev, result, maxlen);
		return 1;
	}
	if (argc == 1 && !strcasecmp(argv[0], "data_files")) {
		data_files(dev, result, maxlen);
		return 1;
	}
	if (argc && !strcasecmp(argv[0], "bitmaps"))
		return bitmaps(dev, argc, argv, result, maxlen);
	if (argc && !strcasecmp(argv[0], "freeze"))
		return freeze(ti, argc, argv);
	if (argc == 1 && !strcasecmp(argv[0], "thaw"))
		return qcow2_instant_thaw(dev->img, QCOW2_INSTANT_THAWED);
	if (argc && !strcasecmp(argv[0], "populate"))
		return populate(ti, argc, argv, result, maxlen);
	if (argc != 2 || strcasecmp(argv[0], "no_space"))
		return -EINVAL;
	if (strcasecmp(argv[1], "error") && strcasecmp(argv[1], "queue"))
		return -EINVAL;
	qcow2_full_set_policy(dev->img, !strcasecmp(argv[1], "error"));
	qcow2_space_release_waiters(dev->img);
	qcow2_park_release(dev);
	return 0;
}
