// SPDX-License-Identifier: GPL-2.0-only
/*
 * Few fills: what a guest would have to wait for all at once is done while it goes on.
 *
 * A suspend copies what all fills lack, and an instant seals them. There may be some hundred, and a
 * guest that writes here and there begins them faster than a commit publishes them. So they are made to become fewer
 * first: as long as there are more than a few, for each two that go one may begin.
 */
#include "fill-internal.h"

#define PATIENCE	(HZ / 4)

/* There is no end to it when they begin as fast as they may. */
#define ENOUGH		(2 * QCOW2_FEW_FILLS)

void qcow2_fills_note_few(struct qcow2_fills *fs, unsigned int count)
{
	lockdep_assert_held(&fs->lock);
	if (count < fs->count)
		fs->admitted += ++fs->gone % 2;
	else if (fs->count >= QCOW2_FEW_FILLS && fs->admitted)
		fs->admitted--;
}

static bool has_many(const struct qcow2_image *img)
{
	/* A host that is full keeps copies waiting. */
	return READ_ONCE(img->commit->nr_fills) > ENOUGH && !qcow2_failed(img) &&
	       !READ_ONCE(img->full->what) && !test_bit(QCOW2_SUSPENDING, &img->state);
}

/* Return: whether one has come and gone before @deadline. */
static bool commit_before(struct qcow2_image *img, unsigned long deadline)
{
	const struct qcow2_commit *c = img->commit;
	u64 next = qcow2_commit_next(img);

	if (time_after_eq(jiffies, deadline))
		return false;
	qcow2_commit_kick(img);
	return wait_event_interruptible_timeout(img->cache.wait, READ_ONCE(c->done) >= next,
						deadline - jiffies) > 0;
}

void qcow2_fills_hold_few(struct qcow2_image *img)
{
	unsigned long deadline = jiffies + PATIENCE;
	struct qcow2_fills *fs = img->fills;

	spin_lock_irq(&fs->lock);
	WRITE_ONCE(fs->nr_few, fs->nr_few + 1);
	spin_unlock_irq(&fs->lock);
	while (has_many(img) && commit_before(img, deadline))
		;
}

void qcow2_fills_release_few(struct qcow2_image *img)
{
	struct qcow2_fills *fs = img->fills;
	LIST_HEAD(works);

	spin_lock_irq(&fs->lock);
	WRITE_ONCE(fs->nr_few, fs->nr_few - 1);
	if (!fs->nr_few) {
		fs->admitted = 0;
		list_splice_init(&fs->waiting, &works);
	}
	spin_unlock_irq(&fs->lock);
	qcow2_fills_requeue(img, &works);
}
