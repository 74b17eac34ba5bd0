// SPDX-License-Identifier: GPL-2.0-only
/*
 * Becoming ready for I/O, and leaving a clean image behind.
 *
 * The constructor has read the header only. All that writes to the image is
 * between qcow2_activate(), from preresume, and qcow2_deactivate(), from
 * postsuspend: in between no other table of the mapped device is active on it,
 * and behind it qemu-img may work on the file.
 */
#include "lease/lease.h"
#include "space/space.h"

#include "activate.h"
#include "bitmaps.h"
#include "compressed.h"
#include "data-file.h"

static void clear_autoclear(struct qcow2_disk_header *d, const void *arg)
{
	const u64 *bits = arg;

	d->autoclear_features &= ~cpu_to_be64(*bits);
}

/* What somebody did to the image while we were suspended must fit the table. */
static int check_unchanged(struct qcow2_image *img, const struct qcow2_header *h)
{
	struct qcow2_geometry now;
	const char *why;
	int err;

	qcow2_geometry_init(&now, h);
	if (memcmp(&now, &img->geo, sizeof(now)) || !h->backing_offset != !img->base) {
		DMERR("%s: image has changed, reload the table", qcow2_name(img));
		return -ESTALE;
	}
	err = qcow2_data_check(img, h, &why);
	if (err)
		DMERR("%s: %s", qcow2_name(img), why);
	return err;
}

static int invalidate(struct qcow2_image *img)
{
	int err = qcow2_has_data_file(img) ? qcow2_file_invalidate(qcow2_data_file(img)) : 0;

	return qcow2_file_invalidate(&img->file) ?: err;
}

static int prepare_write(struct qcow2_image *img, const struct qcow2_header *h)
{
	u64 autoclear = qcow2_header_autoclear(h);
	int err;

	/*
	 * A FUA write in place relies on tables that whoever made the image may have
	 * left in the page cache, or in that of the disk: qemu-img convert does.
	 */
	err = qcow2_barrier(img, QCOW2_BARRIER_ACTIVATE);
	/* The last cluster is whole: nothing is ever written behind the end of a file. */
	if (!err)
		err = qcow2_file_extend(&img->file,
					round_up(qcow2_file_bytes(&img->file),
						 qcow2_cluster_bytes(&img->geo)));
	if (!err && autoclear)
		err = qcow2_write_header(img, clear_autoclear, &autoclear);
	return err;
}

static int start(struct qcow2_image *img)
{
	struct qcow2_header h;
	const char *why;
	int err;

	qcow2_scan_recall(img);
	why = "page cache of the layer cannot be written";
	err = invalidate(img);
	if (!err)
		err = qcow2_read_header(img, &h, &why);
	if (err) {
		DMERR("%s: %s", qcow2_name(img), why);
		return err;
	}
	err = check_unchanged(img, &h);
	if (!err && qcow2_may_write(img))
		err = prepare_write(img, &h);
	if (err)
		return err;
	qcow2_take_header(img, &h);
	if (qcow2_may_write(img))
		err = qcow2_bitmaps_load(img, &h);
	if (err)
		return err;
	qcow2_full_reset(img);
	qcow2_space_activate(img);
	qcow2_lease_start(img->file.lease);
	if (qcow2_has_data_file(img))
		qcow2_lease_start(qcow2_data_file(img)->lease);
	if (qcow2_may_write(img))
		qcow2_scan_start(img);
	return 0;
}

/* What a table before this one could not write is lost, whichever table is asked. */
static void inherit_failure(struct qcow2_image *img)
{
	if (!img->file.top.has_failed || qcow2_failed(img))
		return;
	set_bit(QCOW2_NEEDS_CHECK, &img->state);
	set_bit(QCOW2_FAILED, &img->state);
	DMWARN("%s: image has failed before the table was reloaded, no more writes",
	       qcow2_name(img));
}

/* Its files: nobody else's now. */
static int activate_files(struct qcow2_image *img)
{
	int err = qcow2_file_activate(&img->file.top);

	if (err || !qcow2_has_data_file(img))
		return err;
	err = qcow2_file_activate(&qcow2_data_file(img)->top);
	if (err)
		qcow2_file_deactivate(&img->file.top, false);
	else
		img->file.top.has_failed |= qcow2_data_file(img)->top.has_failed;
	return err;
}

static void deactivate_files(struct qcow2_image *img)
{
	if (qcow2_has_data_file(img))
		qcow2_file_deactivate(&qcow2_data_file(img)->top, qcow2_failed(img));
	qcow2_file_deactivate(&img->file.top, qcow2_failed(img));
}

int qcow2_activate(struct qcow2_image *img)
{
	int err;

	err = activate_files(img);
	if (err) {
		DMERR("%s: image is active in another table", qcow2_name(img));
		return err;
	}
	inherit_failure(img);
	err = start(img);
	if (err) {
		deactivate_files(img);
		return err;
	}
	clear_bit(QCOW2_SUSPENDING, &img->state);
	clear_bit(QCOW2_LEAVING, &img->state);
	set_bit(QCOW2_ACTIVE, &img->state);
	return 0;
}

void qcow2_deactivate(struct qcow2_image *img)
{
	int err, bitmaps_err = 0;

	qcow2_lease_stop(img->file.lease);
	if (qcow2_has_data_file(img))
		qcow2_lease_stop(qcow2_data_file(img)->lease);
	err = qcow2_commit_wait(img);
	if (!err && qcow2_may_write(img))
		bitmaps_err = qcow2_bitmaps_store(img);
	qcow2_space_stop(img);
	if (!err && qcow2_may_write(img))
		err = qcow2_space_return(img);
	qcow2_corrupt_wait(img);
	if (err)
		DMERR("%s: image is not clean: error %d", qcow2_name(img), err);
	/* Those that could not be stored say that more has changed. */
	if (bitmaps_err)
		DMERR("%s: bitmaps are not exact: error %d", qcow2_name(img), bitmaps_err);
	qcow2_bitmaps_unload(img);
	qcow2_cache_drop(img);
	qcow2_compressed_drop(img);
	qcow2_writeback_rest(&img->commit->wb);
	qcow2_writeback_rest(&img->space->wb);
	invalidate(img);
	qcow2_scan_remember(img, !err && !qcow2_failed(img));

	clear_bit(QCOW2_ACTIVE, &img->state);
	deactivate_files(img);
}
