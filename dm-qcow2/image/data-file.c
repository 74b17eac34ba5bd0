// SPDX-License-Identifier: GPL-2.0-only
/*
 * The external data file of an image: opened, and seen to be what the image needs.
 */
#include <linux/slab.h>

#include "data-file.h"

int qcow2_data_open(struct qcow2_image *img, struct dm_target *ti, const struct qcow2_table *table,
		    const struct qcow2_table_layer *layer)
{
	struct qcow2_table_layer word = qcow2_table_data(layer);
	struct qcow2_image *data;
	int err;

	img->data = img;
	if (!layer->has_data)
		return 0;
	data = kzalloc(sizeof(*data), GFP_KERNEL);
	if (!data) {
		ti->error = "Out of memory";
		return -ENOMEM;
	}
	err = table ? qcow2_file_open(&data->file, ti, table, &word) :
		      qcow2_file_open_backing(&data->file, ti, &word);
	if (err) {
		kfree(data);
		return err;
	}
	data->data = data;
	img->data = data;
	return 0;
}

void qcow2_data_close(struct qcow2_image *img, struct dm_target *ti)
{
	if (!qcow2_has_data_file(img))
		return;
	if (ti)
		qcow2_file_close(&img->data->file, ti);
	else
		qcow2_file_close_backing(&img->data->file);
	kfree(img->data);
	img->data = img;
}

int qcow2_data_lock_backing(struct qcow2_image *img, struct dm_target *ti,
			    const struct qcow2_table *table, const struct qcow2_table_layer *layer)
{
	if (!qcow2_has_data_file(img))
		return 0;
	return qcow2_file_lock_backing(&img->data->file, ti, table, layer->data_path);
}

/* A block is one of the guest's, too, and nothing is written behind the end of the disk. */
static int check_blocks(const struct qcow2_file *f, const struct qcow2_header *h,
			const char **why)
{
	if (BIT_ULL(h->cluster_bits) < f->io_align) {
		*why = "clusters are smaller than the data file's direct I/O alignment";
		return -EOPNOTSUPP;
	}
	if (!IS_ALIGNED(h->size, f->io_align)) {
		*why = "disk ends inside a block of its data file";
		return -EOPNOTSUPP;
	}
	return 0;
}

int qcow2_data_check(const struct qcow2_image *img, const struct qcow2_header *h, const char **why)
{
	if (qcow2_header_has_data_file(h) && !qcow2_has_data_file(img)) {
		*why = "image has an external data file that the table lacks";
		return -EINVAL;
	}
	if (!qcow2_header_has_data_file(h) && qcow2_has_data_file(img)) {
		*why = "table has a data file for an image that has none";
		return -EINVAL;
	}
	if (!qcow2_has_data_file(img))
		return 0;
	if (qcow2_file_bytes(qcow2_data_file(img)) < h->size) {
		*why = "data file is shorter than the disk";
		return -EINVAL;
	}
	return check_blocks(qcow2_data_file(img), h, why);
}

bool qcow2_data_has_holes(const struct qcow2_image *img)
{
	return qcow2_cluster_bytes(&img->geo) >= qcow2_file_hole_align(qcow2_data_file(img));
}

bool qcow2_data_is_same(const struct qcow2_image *a, const struct qcow2_image *b)
{
	if (!qcow2_has_data_file(a) || !qcow2_has_data_file(b))
		return qcow2_has_data_file(a) == qcow2_has_data_file(b);
	return qcow2_file_is_same(qcow2_data_file(a), qcow2_data_file(b));
}
