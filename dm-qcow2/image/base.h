/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Backing images: what lies below the top of a chain.
 *
 * A base is a backing image with all that is below it. Nobody writes to it while it is in use, so
 * all disks whose tops lie on the same images share one: one open file with its locks and
 * leases, one cache of metadata, one map of where its guest's data is (chain-map.h).
 *
 * bases_lock is held for moments only, as the hosts of some images may hang. qcow2_base.lock is
 * held while the image is looked at; the lock of the registry of files is inside.
 */
#ifndef DM_QCOW2_BASE_H
#define DM_QCOW2_BASE_H

#include "format/table.h"
#include "meta/image.h"

#include "chain-map.h"

struct dm_target;

/**
 * struct qcow2_base - a backing image and what is below it
 * @img: the image; of a raw one only the files, and the name, are used
 * @below: what is below it, or NULL; with a reference
 * @chain: this one, then those below it, downwards
 * @depth: number of images in @chain
 * @images: those of @chain, then what has their data
 * @is_raw: all of the file is the guest's data
 * @bytes: length of the guest's data; what is behind it reads as zero
 * @map: where the guest's data is, in this image and below
 * @node: in the list of all; protected by bases_lock
 * @refs: tables and other bases that use it; protected by bases_lock
 * @lock: protects the rest
 * @nr_active: users between preresume and postsuspend
 * @is_known: it can be told whether the image has changed since it was last looked at
 * @is_stamped: of its files that are no devices @stamps says when that was
 * @stamps: of the file, and of its data file, if it has one
 * @generation: counts how often it was looked at anew
 * @map_generation: counts how often @map was dropped for what this one or one below may be now
 * @below_generation: that of @below which @map goes by
 */
struct qcow2_base {
	struct qcow2_image img;
	struct qcow2_base *below;
	struct qcow2_base **chain;
	unsigned int depth;
	struct qcow2_image **images;
	bool is_raw;
	u64 bytes;
	struct qcow2_chain_map map;
	struct list_head node;
	unsigned int refs;
	struct mutex lock;
	unsigned int nr_active;
	bool is_known;
	bool is_stamped;
	struct qcow2_stamp stamps[2];
	u64 generation;
	u64 map_generation;
	u64 below_generation;
};

/**
 * struct qcow2_base_user - one of the backing images of a table
 * @base: the image, with a reference
 * @generation: of the image when the table was loaded, or last active; 0 when that says nothing
 * @files: uses of its file, and of its data file, if it has one
 */
struct qcow2_base_user {
	struct qcow2_base *base;
	u64 generation;
	struct qcow2_file_user files[2];
};

/**
 * struct qcow2_bases - all backing images of a table
 * @users: from the bottom upwards
 * @count: how many
 */
struct qcow2_bases {
	struct qcow2_base_user *users;
	unsigned int count;
};

/**
 * qcow2_bases_open - open, or share, the backing images of a table
 * @b: filled in on success
 * @ti: the target that is being constructed
 * @table: its table line; all but the last layer are backing images
 *
 * Sets @ti->error on failure. Return: 0 or a negative errno.
 */
int __must_check qcow2_bases_open(struct qcow2_bases *b, struct dm_target *ti,
				  const struct qcow2_table *table);
void qcow2_bases_close(struct qcow2_bases *b, struct dm_target *ti);

/* The image that a top lies on, or NULL. */
static inline struct qcow2_base *qcow2_bases_top(const struct qcow2_bases *b)
{
	return b->count ? b->users[b->count - 1].base : NULL;
}

/**
 * qcow2_bases_activate - be ready to read from the backing images
 * @b: those of a table that is not active
 * @name: the mapped device, for the log
 *
 * Return: 0; -ESTALE when an image is not what it was when the table was loaded; -EBUSY
 * when somebody writes to it; or another negative errno.
 */
int __must_check qcow2_bases_activate(struct qcow2_bases *b, const char *name);
void qcow2_bases_deactivate(struct qcow2_bases *b);

/**
 * qcow2_bases_have_failed - did writes to one of them fail when it was the top?
 * @b: those of an active table
 *
 * By the same mapped device: what it was told is written is not.
 */
bool qcow2_bases_have_failed(const struct qcow2_bases *b);

#endif /* DM_QCOW2_BASE_H */
