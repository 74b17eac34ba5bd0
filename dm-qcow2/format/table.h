/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The words of a qcow2 table line, parsed. Builds in user space, too.
 *
 *	<layer>... [features <#features> <feature>...]
 *
 * The grammar is documented in Documentation/dm-qcow2.rst.
 */
#ifndef DM_QCOW2_TABLE_H
#define DM_QCOW2_TABLE_H

#include "userspace.h"

#define QCOW2_DEFAULT_CACHE_MB	32
#define QCOW2_MAX_CACHE_MB	65536

/**
 * struct qcow2_table - a parsed table line
 * @path: absolute path of the layer, or NULL; points into the parsed words
 * @fd: file descriptor of the layer in the caller, or -1
 * @cache_mb: limit of the metadata cache in MiB
 * @no_space_error: fail writes when the host has no space, instead of queueing
 * @no_layouts: all I/O on a file goes through its file system
 */
struct qcow2_table {
	const char *path;
	int fd;
	u32 cache_mb;
	bool no_space_error;
	bool no_layouts;
};

/**
 * qcow2_table_parse - parse the words behind the target's name
 * @argc: number of words
 * @argv: the words; must outlive @t
 * @t: filled in on success
 * @why: set to a sentence on failure; a static string
 *
 * Return: 0, -EINVAL, or -EOPNOTSUPP for what the grammar knows and this
 * version does not.
 */
int __must_check qcow2_table_parse(unsigned int argc, char **argv,
				   struct qcow2_table *t, const char **why);

#endif /* DM_QCOW2_TABLE_H */
