// SPDX-License-Identifier: GPL-2.0-only
/*
 * The message "populate": the top gets what is below it, so that those images can go.
 *
 * A hole that shows data of an image below gets a fill (cow/fill.h), as if somebody wrote nothing to it. All
 * that holds for writes to such clusters holds for it: the guest's bytes win, and an entry points
 * at the copy when that is whole. Some fills at a time are begun, then copied and published by whoever has sent
 * the message; a commit that comes in between does it for him.
 */
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/sizes.h>

#include "image/base.h"

#include "dev.h"
#include "map.h"
#include "populate.h"

/* Copied together. A flush of the guest's waits as long. */
#define TOGETHER_BYTES	SZ_1M

/* Looked at in one go; a run ends with its page of entries anyhow. */
#define MAX_RUN		SZ_1G

/* Runs for one answer: a disk of holes takes long, too. */
#define MAX_LOOKS	4096

/* How often clusters are looked for, where that fails for a moment only, and how long. */
#define SPACE_DELAY	(HZ / 10)
#define SPACE_PATIENCE	(2 * HZ)

/* Beside enum qcow2_cow_result: it is not known yet what is below. */
#define LOAD		INT_MAX

/**
 * struct populate - a message
 * @dev: the mapped device
 * @offset: of the guest: what is before it is done, or begun
 * @safe: what is before it is done
 * @end: where to end
 * @copied: what was copied, or has begun to be
 * @begun: what was begun, and is not published
 * @dropped: of qcow2_fills_dropped(), from before that
 */
struct populate {
	struct qcow2_dev *dev;
	u64 offset;
	u64 safe;
	u64 end;
	u64 copied;
	u64 begun;
	unsigned long dropped;
};

/* The last ones that are prepared are the guest's: the host may have no more. */
static bool has_spare(const struct qcow2_image *img)
{
	return READ_ONCE(img->space->nr_ready) > img->space->step / 4;
}

/*
 * In a read section of qcow2_image.inflight that holds for all of it: whoever freezes the disk, suspends or
 * removes it waits for those that have not seen that. A removal does not wait for messages.
 */
static int may_change(const struct qcow2_image *img)
{
	if (!test_bit(QCOW2_ACTIVE, &img->state) || test_bit(QCOW2_SUSPENDING, &img->state))
		return -EAGAIN;
	if (rcu_access_pointer(img->instant))
		return -EBUSY;
	return qcow2_failed(img) ? -EIO : 0;
}

static int check(const struct qcow2_image *img)
{
	if (!img->file.is_writable)
		return -EROFS;
	if (img->geo.has_data_file)
		return -EOPNOTSUPP;
	return may_change(img);
}

/* Of one cluster, from its first byte that shows what is below: what one fill takes. */
static u32 unit_end(const struct populate *c, u32 run)
{
	const struct qcow2_geometry *g = &c->dev->img->geo;
	u64 cluster_end = round_down(c->offset, qcow2_cluster_bytes(g)) + qcow2_cluster_bytes(g);
	u64 end = cluster_end;

	if (qcow2_has_subclusters(g))
		end = min(round_up(c->offset + run, qcow2_unit_bytes(g)), cluster_end);
	return min(end, g->size) - c->offset;
}

static u32 subclusters_of(const struct qcow2_geometry *g, u64 start, u64 end)
{
	u32 first = qcow2_subcluster(g, start);

	if (!qcow2_has_subclusters(g))
		return U32_MAX;
	return qcow2_subcluster_mask(first, qcow2_subcluster(g, end - 1) - first + 1);
}

/*
 * What a write to all of it would have to be told. Return: 0, and then it is a hole that is to be copied;
 * QCOW2_COW_AGAIN, LOAD or a negative errno.
 */
static int look_as_writer(struct qcow2_image *img, struct qcow2_mpage *p, u64 start, u64 end,
			  struct qcow2_mapping *m)
{
	int result = qcow2_map_page(img, p, start, end - start, true, m);

	if (result >= 0 && result != QCOW2_MAP_BELOW)
		return QCOW2_COW_AGAIN;
	if (result == QCOW2_MAP_BELOW)
		result = qcow2_map_unowned(img, p, start, true, result, m);
	if (result == QCOW2_MAP_LOAD)
		return LOAD;
	return result == QCOW2_MAP_FILL ? 0 : result < 0 ? result : QCOW2_COW_AGAIN;
}

/* Data is below the next @run bytes. Return: as look(). */
static int pull(struct populate *c, struct qcow2_mpage *p, u32 run, u32 *bytes)
{
	struct qcow2_image *img = c->dev->img;
	u64 start = round_down(c->offset, qcow2_unit_bytes(&img->geo));
	u64 end = c->offset + unit_end(c, run);
	struct qcow2_mapping m;
	int result;

	if (!has_spare(img))
		return QCOW2_COW_NO_CLUSTER;
	if (!c->begun)
		c->dropped = qcow2_fills_dropped(img);
	result = look_as_writer(img, p, start, end, &m);
	if (result)
		return result;
	end = start + m.bytes;
	result = qcow2_fill_pull(img, p, start, m.old, subclusters_of(&img->geo, start, end));
	if (result != QCOW2_COW_READY)
		return result;
	*bytes = end - c->offset;
	c->begun += end - start;
	return QCOW2_COW_READY;
}

/*
 * The next bytes. Return: QCOW2_COW_READY when nothing has to be done for the first @bytes of them, or a fill has
 * been begun; another enum qcow2_cow_result, LOAD, or a negative errno.
 */
static int look(struct populate *c, struct qcow2_mpage *p, u32 *bytes)
{
	u32 want = min_t(u64, c->end - c->offset, MAX_RUN);
	struct qcow2_image *img = c->dev->img;
	struct qcow2_below below;
	struct qcow2_mapping m;
	int result;

	result = qcow2_map_page(img, p, c->offset, want, false, &m);
	if (result < 0)
		return result;
	if (result == QCOW2_MAP_AGAIN)
		return QCOW2_COW_AGAIN;
	*bytes = m.bytes;
	if (result != QCOW2_MAP_BELOW)
		return QCOW2_COW_READY;
	switch (qcow2_below_find(img->base, c->offset, m.bytes, &below)) {
	case QCOW2_BELOW_MISS:
		return LOAD;
	case QCOW2_BELOW_ZERO:
		*bytes = below.bytes;
		return QCOW2_COW_READY;
	default:
		return pull(c, p, min(m.bytes, below.bytes), bytes);
	}
}

static int look_once(struct populate *c, u32 *bytes)
{
	struct qcow2_image *img = c->dev->img;
	struct qcow2_mpage *p;
	int result, srcu_idx;

	p = qcow2_mpage_get(img, QCOW2_META_L2, qcow2_l2_page(&img->geo, c->offset));
	if (IS_ERR(p))
		return PTR_ERR(p);
	srcu_idx = qcow2_inflight_enter(img);
	result = may_change(img) ?: look(c, p, bytes);
	qcow2_inflight_leave(img, srcu_idx);
	qcow2_mpage_put(p);
	return result;
}

/* Where some of it could not be copied, all that is not known to be done is to be looked at again. */
static int publish(struct populate *c)
{
	int err = c->begun ? qcow2_fills_publish_pulled(c->dev->img, c->dropped) : 0;

	if (err) {
		c->offset = c->safe;
	} else {
		c->copied += c->begun;
		c->safe = c->offset;
	}
	c->begun = 0;
	return err;
}

/* Have the thread look for free clusters, once. Return: what came of that. */
static int prepare_space(struct qcow2_image *img)
{
	int err, srcu_idx;

	srcu_idx = qcow2_inflight_enter(img);
	err = may_change(img);
	if (!err)
		qcow2_space_want(img);
	qcow2_inflight_leave(img, srcu_idx);
	return err ?: qcow2_space_wanted(img);
}

/* It does not wait for the host, and does not ask for more often than those who do. */
static int wait_for_cluster(struct qcow2_image *img)
{
	unsigned long until = jiffies + SPACE_PATIENCE;
	int err;

	for (;;) {
		err = prepare_space(img);
		if (has_spare(img))
			return 0;
		if ((err && err != -ENOMEM) || time_after(jiffies, until))
			return err ?: -EAGAIN;
		schedule_timeout_interruptible(SPACE_DELAY);
		if (signal_pending(current))
			return -EINTR;
	}
}

/* What is begun goes first in any case: it has what others wait for. */
static int go_on(struct populate *c, int result, u32 bytes)
{
	struct qcow2_image *img = c->dev->img;
	bool has_begun = c->begun;
	int err;

	switch (result) {
	case QCOW2_COW_READY:
		c->offset += bytes;
		if (!c->begun)
			c->safe = c->offset;
		return c->begun < TOGETHER_BYTES ? 0 : publish(c);
	case QCOW2_COW_AGAIN:
		return 0;
	case LOAD:
		return qcow2_below_load(img->base, c->offset);
	case QCOW2_COW_NO_CLUSTER:
		err = publish(c);
		return err ?: wait_for_cluster(img);
	case QCOW2_COW_PARKED:
		err = publish(c);
		return err || has_begun ? err : qcow2_commit_wait(img);
	default:
		return result;
	}
}

static int walk(struct populate *c, u64 max_bytes)
{
	struct qcow2_image *img = c->dev->img;
	unsigned int looks = 0;
	int err = 0, result;
	u32 bytes = 0;

	while (!err && c->offset < c->end && c->copied + c->begun < max_bytes &&
	       looks++ < MAX_LOOKS) {
		result = look_once(c, &bytes);
		err = go_on(c, result, bytes);
		cond_resched();
		if (!err && signal_pending(current))
			err = -EINTR;
		if (!err && test_bit(QCOW2_SUSPENDING, &img->state))
			err = -EAGAIN;
	}
	return err;
}

static int populate(struct populate *c, u64 max_bytes)
{
	struct qcow2_image *img = c->dev->img;
	int err, publish_err;

	err = qcow2_tables_are_known(img) ? 0 : qcow2_tables_load(img);
	if (!err)
		err = walk(c, max_bytes);
	publish_err = publish(c);
	return publish_err ?: err;
}

int qcow2_populate(struct qcow2_dev *dev, u64 start, u64 end, u64 max_bytes, u64 *next,
		   u64 *copied)
{
	struct populate c = { .dev = dev, .offset = start, .safe = start, .end = end };
	unsigned int noio;
	int err;

	err = check(dev->img);
	if (err)
		return err;
	if (!dev->img->base)
		c.safe = end;
	noio = memalloc_noio_save();
	err = dev->img->base ? populate(&c, max_bytes) : 0;
	memalloc_noio_restore(noio);
	*next = c.safe;
	*copied = c.copied;
	/* What is wrong is told when nothing else can be. */
	if (c.safe > start || start == end)
		return 0;
	return err ?: -EAGAIN;
}
