/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The external data file of an image: its guest's data, each cluster at its guest offset.
 *
 * It is an image of which only the file is used, as of a raw backing image, so that a mapping names
 * it as any other: qcow2_image.data, which is the image itself where there is none. Which
 * file it is says the table line, never the header.
 */
#ifndef DM_QCOW2_DATA_FILE_H
#define DM_QCOW2_DATA_FILE_H

#include "format/table.h"
#include "meta/meta.h"

struct dm_target;

/**
 * qcow2_data_open - open the data file of an image, if the table line has one for it
 * @img: the image; @data is set
 * @ti: the target that is being constructed
 * @table: the table line, for its top; NULL for a backing image
 * @layer: what the table line says of the image
 *
 * As qcow2_file_open() does, or qcow2_file_open_backing(). Return: 0 or a negative errno.
 */
int __must_check qcow2_data_open(struct qcow2_image *img, struct dm_target *ti,
				 const struct qcow2_table *table,
				 const struct qcow2_table_layer *layer);

/**
 * qcow2_data_close - undo qcow2_data_open()
 * @img: the image
 * @ti: the target that it is the top of; NULL for a backing image
 */
void qcow2_data_close(struct qcow2_image *img, struct dm_target *ti);

/**
 * qcow2_data_lock_backing - lock the data file of a backing image, if it has one
 * @img: the image
 * @ti: the target that is being constructed
 * @table: its table line
 * @layer: what that says of the image
 *
 * As qcow2_file_lock_backing() does.
 */
int __must_check qcow2_data_lock_backing(struct qcow2_image *img, struct dm_target *ti,
					 const struct qcow2_table *table,
					 const struct qcow2_table_layer *layer);

/**
 * qcow2_data_check - see whether a data file is what its image needs
 * @img: the image; its files are open
 * @h: its header
 * @why: set to a sentence on failure; a static string
 *
 * Return: 0; -EINVAL when the header has the bit and the table no data file, or the other way
 * round, or when the file is too short; -EOPNOTSUPP when its blocks are too large.
 */
int __must_check qcow2_data_check(const struct qcow2_image *img, const struct qcow2_header *h,
				  const char **why);

/**
 * qcow2_data_has_holes - can clusters of a data file become holes, or the like?
 * @img: its image
 */
bool qcow2_data_has_holes(const struct qcow2_image *img);

/**
 * qcow2_data_is_same - whether two images have their data in the same file, or both in themselves
 * @a: an image
 * @b: another
 */
bool qcow2_data_is_same(const struct qcow2_image *a, const struct qcow2_image *b);

#endif /* DM_QCOW2_DATA_FILE_H */
