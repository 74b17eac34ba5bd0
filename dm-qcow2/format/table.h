/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The words of a qcow2 table line, parsed. Builds in user space, too.
 *
 *	[format:<qcow2|raw>] [data:<layer>] <layer>... [features <#features> <feature>...]
 *
 * Layers are listed from the bottom of the chain to its top. The grammar is documented in
 * Documentation/dm-qcow2.rst.
 */
#ifndef DM_QCOW2_TABLE_H
#define DM_QCOW2_TABLE_H

#include "userspace.h"

#define QCOW2_DEFAULT_CACHE_MB	32
#define QCOW2_MAX_CACHE_MB	65536

/* As many images as a chain may have. */
#define QCOW2_MAX_LAYERS	256

/**
 * enum qcow2_discard - what becomes of clusters that are discarded
 * @QCOW2_DISCARD_DEFAULT: not given
 * @QCOW2_DISCARD_UNMAP: they are free, and their space is the host's
 * @QCOW2_DISCARD_KEEP: they read as zero, and stay allocated
 * @QCOW2_DISCARD_IGNORE: nothing: discards are not offered
 */
enum qcow2_discard {
	QCOW2_DISCARD_DEFAULT,
	QCOW2_DISCARD_UNMAP,
	QCOW2_DISCARD_KEEP,
	QCOW2_DISCARD_IGNORE,
};

/**
 * struct qcow2_table_layer - an image of the chain
 * @path: its absolute path, or NULL; points into the parsed words
 * @fd: its file descriptor in the caller, or -1
 * @is_raw: the image is its guest's data, and nothing else
 * @is_data: it is the data file of a layer
 * @has_data: the guest's data is in another file
 * @data_path: its absolute path, or NULL; points into the parsed words
 * @data_fd: its file descriptor in the caller, or -1
 */
struct qcow2_table_layer {
	const char *path;
	int fd;
	bool is_raw;
	bool is_data;
	bool has_data;
	const char *data_path;
	int data_fd;
};

/**
 * struct qcow2_table - a parsed table line
 * @layers: the images from the bottom to the top
 * @nr_layers: how many; at least 1
 * @cache_mb: limit of the metadata cache in MiB
 * @no_space_error: fail writes when the host has no space, instead of queueing
 * @no_layouts: all I/O on a file goes through its file system
 * @low_space: with fewer bytes left on the host, an event is sent; 0: none is
 * @discard: what becomes of discarded clusters
 */
struct qcow2_table {
	struct qcow2_table_layer *layers;
	unsigned int nr_layers;
	u32 cache_mb;
	bool no_space_error;
	bool no_layouts;
	u64 low_space;
	enum qcow2_discard discard;
};

static inline const struct qcow2_table_layer *qcow2_table_top(const struct qcow2_table *t)
{
	return &t->layers[t->nr_layers - 1];
}

/* The data file of a layer, which is as a raw image is. */
static inline struct qcow2_table_layer qcow2_table_data(const struct qcow2_table_layer *l)
{
	return (struct qcow2_table_layer) {
		.path = l->data_path,
		.fd = l->data_fd,
		.is_raw = true,
		.is_data = true,
		.data_fd = -1,
	};
}

/**
 * qcow2_table_parse - parse the words behind the target's name
 * @argc: number of words
 * @argv: the words; must outlive @t
 * @layers: room for @argc of them; must outlive @t
 * @t: filled in on success
 * @why: set to a sentence on failure; a static string
 *
 * Return: 0, -EINVAL, or -EOPNOTSUPP for what the grammar knows and this
 * version does not.
 */
int __must_check qcow2_table_parse(unsigned int argc, char **argv,
				   struct qcow2_table_layer *layers,
				   struct qcow2_table *t, const char **why);

#endif /* DM_QCOW2_TABLE_H */
