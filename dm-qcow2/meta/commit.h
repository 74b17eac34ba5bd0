/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Commits: making the L1 and L2 tables of an image durable.
 */
#ifndef DM_QCOW2_COMMIT_H
#define DM_QCOW2_COMMIT_H

#include <linux/bio.h>
#include <linux/kthread.h>

#include "image.h"
#include "writeback.h"

/**
 * struct qcow2_commit - the state of commit.c
 * @img: the image
 * @worker: the thread
 * @work: one commit
 * @age_work: a commit for changes that nobody flushes
 * @corrupt_work: marks the header of a damaged image
 * @lock: protects @waiting
 * @waiting: bios that complete with the next commit
 * @started: number of the newest commit that has started
 * @done: number of the newest commit that has ended, well or not
 * @durable: number of the newest commit that has succeeded
 * @data_seq: numbers copies of data; see qcow2_mpage.data_seq
 * @nr_fills: changes that are not in the cache yet; written by their owner
 * @prepare: called with the image by a commit, to have them in the cache
 * @committed: called with the image behind a commit
 * @owes_error: a write was lost since the last flush: the next one says so; commits only
 * @wb: buffers of the write-back
 */
struct qcow2_commit {
	struct qcow2_image *img;
	struct kthread_worker *worker;
	struct kthread_work work;
	struct kthread_delayed_work age_work;
	struct kthread_work corrupt_work;
	spinlock_t lock;
	struct bio_list waiting;
	u64 started;
	u64 done;
	u64 durable;
	atomic64_t data_seq;
	unsigned int nr_fills;
	int (*prepare)(struct qcow2_image *img);
	void (*committed)(struct qcow2_image *img);
	bool owes_error;
	struct qcow2_writeback wb;
};

/**
 * qcow2_commit_init - start the thread of an image's commits
 * @c: what is to be initialised
 * @img: the image; it is set to use @c
 *
 * Return: 0 or a negative errno.
 */
int __must_check qcow2_commit_init(struct qcow2_commit *c, struct qcow2_image *img);
void qcow2_commit_exit(struct qcow2_commit *c);

/* damage.c */
void qcow2_mark_corrupt(struct kthread_work *work);

/**
 * qcow2_commit_bio - complete a bio when all that was written so far is durable
 * @img: the image
 * @bio: an empty flush, or a write whose data has been written
 *
 * Any context.
 */
void qcow2_commit_bio(struct qcow2_image *img, struct bio *bio);

/**
 * qcow2_commit_kick - start a commit soon
 * @img: the image
 */
void qcow2_commit_kick(struct qcow2_image *img);

/**
 * qcow2_commit_age - see that changes made now do not stay in memory for ever
 * @img: the image
 */
void qcow2_commit_age(struct qcow2_image *img);

/**
 * qcow2_commit_wait - commit all changes and wait
 * @img: the image
 *
 * Return: 0, or -EIO when the image has failed.
 */
int qcow2_commit_wait(struct qcow2_image *img);

/**
 * qcow2_commit_next - number of a commit that will make earlier changes durable
 * @img: the image
 */
static inline u64 qcow2_commit_next(const struct qcow2_image *img)
{
	/* Every commit that starts from now on sees the changed entry. */
	smp_mb();
	return READ_ONCE(img->commit->started) + 1;
}

/**
 * qcow2_commit_is_idle - is everything in the cache durable?
 * @img: the image
 *
 * Return: true when a flush has nothing to do but flush the layer.
 */
bool qcow2_commit_is_idle(struct qcow2_image *img);

#endif /* DM_QCOW2_COMMIT_H */
