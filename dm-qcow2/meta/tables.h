/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The index of tables: all host clusters of an image that hold metadata.
 *
 * An image that may be damaged says where data is and which clusters are free. Before a cluster
 * is written to in place, prepared, or given back to the host on its word, it is looked up here.
 *
 * The index is made once in an activation, by the first who needs it; an image that is only read
 * has none. From then on who gives a table its place adds it before anybody can use it.
 */
#ifndef DM_QCOW2_TABLES_H
#define DM_QCOW2_TABLES_H

#include <linux/rcupdate.h>
#include <linux/siphash.h>

#include "image.h"

/**
 * struct qcow2_tables - a set of host clusters
 * @filter_mask: number of bits of @filter less one
 * @slot_mask: number of @slots less one
 * @slots: a hash table: EMPTY, GONE, or a cluster; see tables.c
 * @nr_used: number of slots that are not EMPTY; this and the next are protected by the lock of
 *	the index
 * @nr_gone: of these, those that hold none any more
 * @key: of the hash, so that no image is made to have all clusters in the same slots
 * @rcu: delays the release
 * @filter: bit N is set if a cluster N, modulo the size, was in @slots at any time: most
 *	clusters of data need no look-up there
 *
 * Clusters are added and removed in place. Once it is too full, another one takes its place.
 */
struct qcow2_tables {
	u64 filter_mask;
	u64 slot_mask;
	u64 *slots;
	u64 nr_used;
	u64 nr_gone;
	siphash_key_t key;
	struct rcu_head rcu;
	unsigned long filter[];
};

/* A read section of qcow2_image.inflight, or the lock of the index, delays its release. */
static inline const struct qcow2_tables *qcow2_tables(const struct qcow2_cache *c)
{
	return rcu_dereference_raw(c->tables);
}

/**
 * qcow2_may_be_table - may a host cluster hold metadata?
 * @c: the cache
 * @cluster: the host cluster
 *
 * Context: a read section of qcow2_image.inflight. Lockless.
 *
 * Return: false when it does not. True for all clusters as long as there is no index.
 */
static inline bool qcow2_may_be_table(const struct qcow2_cache *c, u64 cluster)
{
	const struct qcow2_tables *t = qcow2_tables(c);

	return test_bit(cluster & t->filter_mask, t->filter);
}

/**
 * qcow2_tables_find - look for metadata among host clusters
 * @img: the image
 * @first: the first one
 * @count: how many
 *
 * Context: as qcow2_is_table().
 *
 * Return: the first that holds metadata, or @first + @count.
 */
u64 qcow2_tables_find(const struct qcow2_image *img, u64 first, u64 count);

/**
 * qcow2_is_table - does a host cluster hold metadata?
 * @img: the image; its index has been made
 * @cluster: the host cluster
 *
 * Context: a read section of qcow2_image.inflight. Lockless.
 */
bool qcow2_is_table(const struct qcow2_image *img, u64 cluster);

void qcow2_tables_init(struct qcow2_image *img);

/**
 * qcow2_tables_are_known - has the index been made?
 * @img: the image
 */
bool qcow2_tables_are_known(const struct qcow2_image *img);

/**
 * qcow2_tables_load - make the index, unless it has been made
 * @img: a writable image
 *
 * Reads the L1 and the refcount table. Our own threads; sleeps for I/O and memory. After an
 * error it may be tried again.
 *
 * Return: 0, -EUCLEAN for metadata with which no write is safe, -ENOMEM, or -EIO.
 */
int __must_check qcow2_tables_load(struct qcow2_image *img);

/**
 * qcow2_tables_forget - the index is not right any more, or not needed
 * @img: the image; no I/O is under way and no thread of it works
 */
void qcow2_tables_forget(struct qcow2_image *img);

/**
 * qcow2_tables_check - make sure that no metadata lies in a run of clusters
 * @img: the image
 * @first: the first cluster
 * @count: number of clusters
 *
 * Our own threads; sleeps: makes the index if need be.
 *
 * Return: 0; -EUCLEAN when there is, and the image is corrupt; or as qcow2_tables_load().
 */
int __must_check qcow2_tables_check(struct qcow2_image *img, u64 first, u64 count);

/**
 * qcow2_tables_add - clusters are going to hold metadata
 * @img: the image
 * @first: the first cluster
 * @count: number of clusters
 *
 * Whoever looks a cluster up before that may still start I/O on it, until a grace period of
 * qcow2_image.inflight is over. Our own threads; sleeps.
 *
 * Return: 0, or as qcow2_tables_load(): then none has been added.
 */
int __must_check qcow2_tables_add(struct qcow2_image *img, u64 first, u64 count);

/**
 * qcow2_tables_remove - clusters that were added do not hold metadata any more
 * @img: the image
 * @first: the first cluster
 * @count: number of clusters
 *
 * What several tables claimed stays metadata for good. Our own threads; sleeps.
 */
void qcow2_tables_remove(struct qcow2_image *img, u64 first, u64 count);

#endif /* DM_QCOW2_TABLES_H */
