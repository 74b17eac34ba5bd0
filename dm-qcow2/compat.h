/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What other kernels than the newest do otherwise, and what that lacks. QCOW2_HAS_* are from
 * Kbuild, by what the headers say.
 */
#ifndef DM_QCOW2_COMPAT_H
#define DM_QCOW2_COMPAT_H

#include <linux/bio.h>
#include <linux/blkdev.h>
#include <linux/exportfs.h>
#include <linux/fs.h>
#include <linux/hrtimer.h>

/* struct file_kattr was struct fileattr before 6.17. */
#ifndef QCOW2_HAS_FILE_KATTR
#define file_kattr fileattr
#endif

/* The name that system_unbound_wq has since 6.17; the old one warns by 7.3. */
#ifndef QCOW2_HAS_SYSTEM_DFL_WQ
#define system_dfl_wq system_unbound_wq
#endif

/* For modules, too, but declared where none looks. A kernel without it is as slow as it is. */
#ifdef QCOW2_HAS_EXPEDITE_GP
void rcu_expedite_gp(void);
void rcu_unexpedite_gp(void);
#else
static inline void rcu_expedite_gp(void)
{
}

static inline void rcu_unexpedite_gp(void)
{
}
#endif

/* One step since 6.13; the two of before are gone by 7.2. */
#ifndef QCOW2_HAS_HRTIMER_SETUP
static inline void hrtimer_setup(struct hrtimer *timer,
				 enum hrtimer_restart (*function)(struct hrtimer *timer),
				 clockid_t clock, enum hrtimer_mode mode)
{
	hrtimer_init(timer, clock, mode);
	timer->function = function;
}
#endif

/* It went in 7.2, with its last user in the tree. */
#ifndef QCOW2_HAS_ZERO_FILL_BIO_ITER
static inline void zero_fill_bio_iter(struct bio *bio, struct bvec_iter start)
{
	struct bvec_iter iter;
	struct bio_vec bv;

	__bio_for_each_segment(bv, bio, iter, start)
		memzero_bvec(&bv);
}
#endif

/*
 * Since 6.17 a device may promise, for fallocate(FALLOC_FL_WRITE_ZEROES), that writes behind it
 * need no new space.
 */
static inline void qcow2_limits_no_unmap_zeroes(struct queue_limits *limits)
{
#ifdef QCOW2_HAS_UNMAP_ZEROES
	limits->max_hw_wzeroes_unmap_sectors = 0;
#endif
}

/*
 * Block layouts have operations of their own in the newest, and commit_blocks() sets the
 * times itself.
 */
#ifdef QCOW2_HAS_BLOCK_OPS
#include <linux/exportfs_block.h>

static inline const struct exportfs_block_ops *qcow2_block_ops(const struct inode *inode)
{
#ifdef CONFIG_EXPORTFS_BLOCK_OPS
	const struct export_operations *ops = inode->i_sb->s_export_op;

	return ops ? ops->block_ops : NULL;
#else
	return NULL;
#endif
}

static inline int qcow2_commit_blocks(struct inode *inode, struct iomap *extents, int count)
{
	return qcow2_block_ops(inode)->commit_blocks(inode, extents, count, 0);
}
#else
static inline const struct export_operations *qcow2_block_ops(const struct inode *inode)
{
	const struct export_operations *ops = inode->i_sb->s_export_op;

	return ops && ops->map_blocks && ops->commit_blocks ? ops : NULL;
}

static inline int qcow2_commit_blocks(struct inode *inode, struct iomap *extents, int count)
{
	struct iattr times = { .ia_valid = ATTR_MTIME | ATTR_CTIME };

	times.ia_mtime = current_time(inode);
	times.ia_ctime = times.ia_mtime;
	return qcow2_block_ops(inode)->commit_blocks(inode, extents, count, &times);
}
#endif

#endif /* DM_QCOW2_COMPAT_H */
