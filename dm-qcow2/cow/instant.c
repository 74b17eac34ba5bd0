// SPDX-License-Identifier: GPL-2.0-only
/*
 * An instant: how it begins, what is kept for it, how it ends.
 */
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include "compat.h"
#include "image/bitmaps.h"

#include "drops.h"
#include "fill.h"
#include "instant.h"

/* When there is no memory. */
#define RETRY_DELAY	(HZ / 10)

/* Those that can be found. */
static LIST_HEAD(all_instants);
static DEFINE_MUTEX(all_lock);

/**
 * struct kept_page - an L2 page as it was
 * @page: only what look-ups need
 * @node: with who ends the instant
 */
struct kept_page {
	struct qcow2_mpage page;
	struct list_head node;
};

static struct kept_page *kept_of(struct qcow2_mpage *p)
{
	return container_of(p, struct kept_page, page);
}

static void free_kept(struct kept_page *k)
{
	kfree(k->page.data);
	kfree(k);
}

/* What is asked of an instant */

struct qcow2_mpage *qcow2_instant_page(struct qcow2_instant *instant, u64 index)
{
	return xa_load(&instant->pages, index);
}

/*
 * No sequence is looked at: a kept entry changes only for a fill that is sealed, and its cluster is
 * nobody else's to look at until that is gone.
 */
static struct qcow2_l2_entry kept_entry(const struct qcow2_image *img,
					const struct qcow2_mpage *kept, u32 slot)
{
	struct qcow2_l2_entry e;

	qcow2_mpage_l2_entry(&img->geo, kept, slot, &e);
	return e;
}

static bool has_data(const struct qcow2_image *img, struct qcow2_l2_entry e)
{
	enum qcow2_entry_type type;

	if (qcow2_has_subclusters(&img->geo))
		return !(e.word & QCOW2_OFLAG_COMPRESSED) && qcow2_l2_allocated(e);
	type = qcow2_entry_type(&img->geo, e.word);
	return type == QCOW2_ENTRY_DATA || type == QCOW2_ENTRY_SHARED;
}

bool qcow2_instant_has_data(struct qcow2_image *img, const struct qcow2_mpage *p, u32 slot,
			    struct qcow2_l2_entry e)
{
	struct qcow2_instant *instant;
	struct qcow2_l2_entry was;
	struct qcow2_mpage *kept;
	bool result = false;

	rcu_read_lock();
	instant = rcu_dereference(img->instant);
	if (!instant || !qcow2_instant_redirects(instant))
		goto unlock;
	/* pairs with keep_page(): a page is kept before an entry of it changes */
	smp_rmb();
	kept = qcow2_instant_page(instant, p->index);
	was = kept ? kept_entry(img, kept, slot) : e;
	result = has_data(img, was) && qcow2_entry_offset(was.word) == qcow2_entry_offset(e.word);
unlock:
	rcu_read_unlock();
	return result;
}

/* Which host clusters an entry has is in its first word. */
static u64 first_word(const struct qcow2_image *img, const struct qcow2_mpage *p, u32 slot)
{
	return qcow2_mpage_entry(p, qcow2_has_subclusters(&img->geo) ? 2 * slot : slot);
}

static bool has_same_clusters(const struct qcow2_image *img, u64 a, u64 b)
{
	u64 first_a, first_b;
	u32 count = qcow2_entry_clusters(img, a, &first_a);

	return count == qcow2_entry_clusters(img, b, &first_b) && first_a == first_b;
}

static bool holds(struct qcow2_image *img, const struct qcow2_mpage *p, u32 slot, u64 word,
		  bool will_be_kept)
{
	struct qcow2_instant *instant;
	struct qcow2_mpage *kept;
	bool result = false;

	rcu_read_lock();
	instant = rcu_dereference(img->instant);
	if (instant) {
		smp_rmb(); /* as in qcow2_instant_has_data() */
		kept = qcow2_instant_page(instant, p->index);
		result = kept ? has_same_clusters(img, first_word(img, kept, slot), word) :
				will_be_kept && qcow2_instant_redirects(instant);
	}
	rcu_read_unlock();
	return result;
}

bool qcow2_instant_holds(struct qcow2_image *img, const struct qcow2_mpage *p, u32 slot, u64 word)
{
	lockdep_assert_held(&p->lock);
	return holds(img, p, slot, word, false);
}

bool qcow2_instant_will_hold(struct qcow2_image *img, const struct qcow2_mpage *p, u32 slot,
			     u64 word)
{
	return holds(img, p, slot, word, true);
}

/* The end of it, first part: writes go in place again */

static bool stop(struct qcow2_instant *instant, enum qcow2_instant_state why)
{
	struct qcow2_fills *fs = instant->img->fills;
	unsigned long flags;
	bool lasted;

	spin_lock_irqsave(&fs->lock, flags);
	lasted = qcow2_instant_redirects(instant);
	if (lasted)
		WRITE_ONCE(instant->state, why);
	spin_unlock_irqrestore(&fs->lock, flags);
	/* Before anybody writes in place: qcow2_instant_lasts() */
	smp_mb();
	return lasted;
}

int qcow2_instant_pass(struct qcow2_instant *instant, u64 guest_off)
{
	u64 passed;

	/* Who ends it frees what it has, and takes a while. */
	if (!mutex_trylock(&instant->ending))
		return qcow2_instant_redirects(instant) ? -EBUSY : -ENODATA;
	if (!qcow2_instant_redirects(instant)) {
		mutex_unlock(&instant->ending);
		return -ENODATA;
	}
	passed = instant->passed;
	if (guest_off > passed) {
		WRITE_ONCE(instant->passed, guest_off);
		qcow2_saved_forget(instant, passed, guest_off);
	}
	mutex_unlock(&instant->ending);
	return 0;
}

enum qcow2_give_up qcow2_instant_give_up(struct qcow2_image *img, enum qcow2_instant_state why)
{
	enum qcow2_give_up result = QCOW2_HAS_NOTHING;
	struct qcow2_instant *instant;

	rcu_read_lock();
	instant = rcu_dereference(img->instant);
	if (instant && stop(instant, why)) {
		/* It reads through file systems, which is nothing for a queue with a rescuer: slow.c */
		queue_work(system_dfl_wq, &instant->work);
		result = QCOW2_GAVE_UP;
	} else if (instant) {
		result = QCOW2_IS_ENDING;
	}
	rcu_read_unlock();
	return result;
}

/* Keeping pages */

static struct kept_page *copy_of(const struct qcow2_image *img, const struct qcow2_mpage *p)
{
	struct kept_page *k = kzalloc(sizeof(*k), GFP_NOWAIT | __GFP_NOWARN);

	if (!k)
		return NULL;
	k->page.data = kmemdup(p->data, qcow2_page_bytes(&img->geo), GFP_NOWAIT | __GFP_NOWARN);
	if (!k->page.data) {
		kfree(k);
		return NULL;
	}
	seqcount_init(&k->page.seq);
	k->page.host_off = p->host_off;
	k->page.index = p->index;
	k->page.kind = p->kind;
	return k;
}

static bool keep_page(const struct qcow2_image *img, struct qcow2_instant *instant,
		      const struct qcow2_mpage *p)
{
	struct kept_page *k;
	void *old;

	if (atomic_long_inc_return(&instant->nr_pages) > instant->max_pages)
		goto err;
	k = copy_of(img, p);
	if (!k)
		goto err;
	old = xa_store(&instant->pages, p->index, &k->page, GFP_NOWAIT | __GFP_NOWARN);
	if (!xa_is_err(old)) {
		/* Whoever sees a new entry finds the page. */
		smp_wmb();
		return true;
	}
	free_kept(k);
err:
	atomic_long_dec(&instant->nr_pages);
	return false;
}

void qcow2_instant_keep_page(struct qcow2_image *img, const struct qcow2_mpage *p)
{
	struct qcow2_instant *instant;

	lockdep_assert_held(&p->lock);
	if (likely(!rcu_access_pointer(img->instant)))
		return;
	rcu_read_lock();
	instant = rcu_dereference(img->instant);
	if (instant && qcow2_instant_redirects(instant) &&
	    !qcow2_instant_page(instant, p->index) && !keep_page(img, instant, p))
		qcow2_instant_give_up(img, QCOW2_INSTANT_NO_MEMORY);
	rcu_read_unlock();
}

bool qcow2_instant_amend(struct qcow2_image *img, const struct qcow2_mpage *p, u32 slot,
			 struct qcow2_l2_entry e, u64 number)
{
	struct qcow2_instant *instant;
	struct qcow2_mpage *kept;
	bool was_before;

	lockdep_assert_held(&p->lock);
	rcu_read_lock();
	instant = rcu_dereference(img->instant);
	was_before = instant && number <= instant->sealed;
	kept = was_before ? qcow2_instant_page(instant, p->index) : NULL;
	if (kept)
		qcow2_mpage_set_l2_entry(&img->geo, kept, slot, e);
	rcu_read_unlock();
	return was_before;
}

/* The end of it, second part: what was kept goes */

/**
 * struct room_wait - waits until not too many clusters are dropped
 * @work: parked with those who drop many
 * @done: it is over
 */
struct room_wait {
	struct qcow2_work work;
	struct completion done;
};

static void room_found(struct qcow2_work *work)
{
	complete(&container_of(work, struct room_wait, work)->done);
}

static void wait_for_room(struct qcow2_image *img)
{
	struct room_wait wait = { .work.fn = room_found };

	init_completion(&wait.done);
	while (qcow2_drop_is_crowded(img, &wait.work)) {
		wait_for_completion(&wait.done);
		reinit_completion(&wait.done);
	}
}

/* Whether only the kept page has the host clusters of an entry: then, how many, and the first. */
static u32 left_clusters(const struct qcow2_image *img, const struct qcow2_mpage *kept,
			 const struct qcow2_mpage *now, u32 slot, u64 *first)
{
	u64 was = first_word(img, kept, slot);

	if (has_same_clusters(img, was, first_word(img, now, slot)))
		return 0;
	return qcow2_entry_clusters(img, was, first);
}

static u32 count_left(const struct qcow2_image *img, const struct qcow2_mpage *kept,
		      const struct qcow2_mpage *now)
{
	u32 entries = 0;
	u64 first;

	for (u32 slot = 0; slot < BIT(img->geo.l2_page_bits); slot++)
		entries += !!left_clusters(img, kept, now, slot, &first);
	return entries;
}

/* Return: of how many entries. */
static u32 collect_left(const struct qcow2_image *img, const struct qcow2_mpage *kept,
			const struct qcow2_mpage *now, struct list_head *extents)
{
	struct qcow2_dropped *d = NULL;
	u32 n, entries = 0;
	u64 first;

	for (u32 slot = 0; slot < BIT(img->geo.l2_page_bits); slot++) {
		n = left_clusters(img, kept, now, slot, &first);
		if (!n)
			continue;
		entries++;
		if (d && qcow2_dropped_join(d, first, n))
			continue;
		d = kmalloc(sizeof(*d), GFP_NOIO | __GFP_NOFAIL);
		*d = (struct qcow2_dropped) { .start = first, .count = n };
		list_add_tail(&d->node, extents);
	}
	return entries;
}

static struct qcow2_mpage *get_page_now(struct qcow2_image *img, u64 index)
{
	struct qcow2_mpage *p;

	while (IS_ERR(p = qcow2_mpage_get(img, QCOW2_META_L2, index)) && PTR_ERR(p) == -ENOMEM)
		schedule_timeout_idle(RETRY_DELAY);
	return p;
}

/*
 * Which clusters are dropped is known before the lock is taken, as that takes memory. An entry
 * never gets back what it let go of, so those that have been found stay so; if under the lock
 * there are no more, they are all.
 */
static void release_page(struct qcow2_image *img, struct qcow2_instant *instant,
			 struct kept_page *k)
{
	struct qcow2_mpage *p = get_page_now(img, k->page.index);
	LIST_HEAD(extents);
	u32 entries;

	if (IS_ERR(p)) {
		DMERR("%s: clusters of the frozen disk leak, cannot read an L2 table: error %ld",
		      qcow2_name(img), PTR_ERR(p));
		xa_erase(&instant->pages, k->page.index);
		return;
	}
	for (;;) {
		entries = collect_left(img, &k->page, p, &extents);
		spin_lock(&p->lock);
		if (count_left(img, &k->page, p) == entries)
			break;
		spin_unlock(&p->lock);
		qcow2_dropped_free(&extents);
	}
	/* From here on who changes an entry drops what it lets go of. */
	xa_erase(&instant->pages, k->page.index);
	spin_unlock(&p->lock);
	if (!list_empty(&extents))
		qcow2_drop_extents(img, &extents, qcow2_commit_next(img));
	qcow2_mpage_put(p);
}

static void release_all(struct qcow2_image *img, struct qcow2_instant *instant,
			struct list_head *gone)
{
	struct qcow2_mpage *kept;
	unsigned long index;

	xa_for_each(&instant->pages, index, kept) {
		wait_for_room(img);
		release_page(img, instant, kept_of(kept));
		list_add(&kept_of(kept)->node, gone);
		cond_resched();
	}
	/* Nothing need be dirty that would have somebody ask for a commit. */
	qcow2_commit_kick(img);
}

/*
 * Fills of clusters that are written in place from now on: whoever has one looks for it. Return:
 * false when the image has failed, and some are left.
 */
static bool publish_fills(struct qcow2_image *img)
{
	u64 newest = qcow2_fills_newest(img);

	qcow2_commit_wait(img);
	while (qcow2_fills_has_older(img, newest)) {
		if (qcow2_failed(img))
			return false;
		schedule_timeout_idle(RETRY_DELAY);
		qcow2_commit_wait(img);
	}
	return true;
}

static void forget_pointer(struct qcow2_image *img)
{
	spin_lock_irq(&img->fills->lock);
	RCU_INIT_POINTER(img->instant, NULL);
	spin_unlock_irq(&img->fills->lock);
}

/* Nobody looks at it any more who has looked at entries, or kept pages, before. */
static void wait_for_lookers(struct qcow2_image *img)
{
	synchronize_rcu();
	synchronize_srcu(&img->inflight);
}

static void free_pages_of(struct qcow2_instant *instant, struct list_head *gone)
{
	struct kept_page *k, *next;

	list_for_each_entry_safe(k, next, gone, node)
		free_kept(k);
	xa_destroy(&instant->pages);
}

/* Who waits for an event is to look. */
static void tell(struct qcow2_image *img, const struct qcow2_instant *instant)
{
	if (instant->state != QCOW2_INSTANT_NO_MEMORY && instant->state != QCOW2_INSTANT_NO_SPACE)
		return;
	DMWARN("%s: the frozen disk was given up: %s", qcow2_name(img),
	       instant->state == QCOW2_INSTANT_NO_SPACE ? "the guest needs its space" :
							   "no memory for more");
	dm_table_event(img->ti->table);
}

/* What wanted a cluster may need none, or there are some. */
static void let_waiters_look(struct qcow2_image *img)
{
	qcow2_space_release_waiters(img);
	qcow2_space_look_again(img);
}

/* What was published is in the entries that whoever finds no instant has looked at. */
static void end(struct qcow2_image *img, struct qcow2_instant *instant)
{
	LIST_HEAD(gone);

	lockdep_assert_held(&instant->ending);
	rcu_assign_pointer(instant->readable, NULL);
	qcow2_cut_end(img, instant->cut);
	let_waiters_look(img);
	if (!publish_fills(img))
		return;
	wait_for_lookers(img);
	release_all(img, instant, &gone);
	forget_pointer(img);
	wait_for_lookers(img);
	free_pages_of(instant, &gone);
	qcow2_saved_free(&instant->saved);
	instant->is_ended = true;
	let_waiters_look(img);
	tell(img, instant);
}

/* Whoever comes first. */
static void end_once(struct qcow2_instant *instant)
{
	unsigned int noio = memalloc_noio_save();

	mutex_lock(&all_lock);
	list_del_init(&instant->node);
	mutex_unlock(&all_lock);
	mutex_lock(&instant->ending);
	if (!instant->is_ended)
		end(instant->img, instant);
	mutex_unlock(&instant->ending);
	memalloc_noio_restore(noio);
}

static void end_work(struct work_struct *work)
{
	end_once(container_of(work, struct qcow2_instant, work));
}

static void free_instant(struct kref *refs)
{
	struct qcow2_instant *instant = container_of(refs, struct qcow2_instant, refs);

	qcow2_cut_free(instant->cut);
	kfree(instant);
}

void qcow2_instant_put(struct qcow2_instant *instant)
{
	kref_put(&instant->refs, free_instant);
}

/* What does not last any more. Return: 0 or -EIO. */
static int forget_latest(struct qcow2_image *img)
{
	struct qcow2_instant *instant = img->fills->latest;

	lockdep_assert_held(&img->fills->freezing);
	if (!instant)
		return 0;
	end_once(instant);
	cancel_work_sync(&instant->work);
	if (!instant->is_ended)
		return -EIO;
	img->fills->latest = NULL;
	qcow2_instant_put(instant);
	return 0;
}

int qcow2_instant_thaw(struct qcow2_image *img, enum qcow2_instant_state why)
{
	struct qcow2_instant *instant;
	int err;

	mutex_lock(&img->fills->freezing);
	instant = img->fills->latest;
	if (instant)
		stop(instant, why);
	err = instant ? forget_latest(img) : -ENODATA;
	mutex_unlock(&img->fills->freezing);
	return err;
}

/* The beginning */

static struct qcow2_instant *alloc_instant(struct qcow2_image *img, dev_t number, u64 mib)
{
	/* Of one that is far from others, with its node. */
	u64 page_bytes = qcow2_page_bytes(&img->geo) + sizeof(struct kept_page) +
			 sizeof(struct xa_node);
	struct qcow2_instant *instant = kzalloc(sizeof(*instant), GFP_NOIO);

	if (!instant)
		return NULL;
	kref_init(&instant->refs);
	instant->img = img;
	RCU_INIT_POINTER(instant->readable, img);
	instant->number = number;
	INIT_LIST_HEAD(&instant->node);
	xa_init(&instant->pages);
	instant->max_pages = div64_u64(mib << 20, page_bytes);
	qcow2_saved_init(&instant->saved);
	mutex_init(&instant->ending);
	INIT_WORK(&instant->work, end_work);
	return instant;
}

/* The instant: writes that look a cluster up from here on are not in it. */
static void set_frozen(struct qcow2_image *img, struct qcow2_instant *instant)
{
	struct qcow2_fills *fs = img->fills;

	spin_lock_irq(&fs->lock);
	instant->sealed = fs->newest;
	rcu_assign_pointer(img->instant, instant);
	/* Older writes may be on their way in place to what is copied from now on. */
	fs->kept = start_poll_synchronize_srcu(&img->inflight);
	fs->has_kept = true;
	spin_unlock_irq(&fs->lock);
}

/* It may have been given up by now. */
static int begin_error(const struct qcow2_instant *instant)
{
	switch (READ_ONCE(instant->state)) {
	case QCOW2_INSTANT_LASTS:
		return 0;
	case QCOW2_INSTANT_NO_MEMORY:
		return -ENOMEM;
	case QCOW2_INSTANT_NO_SPACE:
		return -ENOSPC;
	default:
		return -EAGAIN;
	}
}

/* Until the disk of the instant does not change any more, and all of it is where entries say. */
static int settle(struct qcow2_image *img, const struct qcow2_instant *instant)
{
	u64 commit = qcow2_commit_next(img);
	int err;

	/* Writes wait for what is sealed. */
	qcow2_commit_kick(img);
	/* As wait_for_lookers(). */
	synchronize_rcu_expedited();
	synchronize_srcu_expedited(&img->inflight);
	/* Another one would copy what was begun since, which the guest need not have competing with it. */
	wait_event(img->cache.wait, READ_ONCE(img->commit->done) >= commit);
	err = qcow2_failed(img) ? -EIO : 0;
	while (!err && qcow2_fills_has_older(img, instant->sealed)) {
		if (fatal_signal_pending(current))
			return -EINTR;
		schedule_timeout_idle(RETRY_DELAY);
		err = qcow2_commit_wait(img);
	}
	return err ?: begin_error(instant);
}

/* One that is about to be suspended has set a bit before it asks for the end of all instants. */
static bool may_begin(const struct qcow2_image *img)
{
	return test_bit(QCOW2_ACTIVE, &img->state) && !test_bit(QCOW2_SUSPENDING, &img->state) &&
	       !test_bit(QCOW2_LEAVING, &img->state);
}

static int begin(struct qcow2_image *img, dev_t number, u64 mib)
{
	struct qcow2_instant *instant = img->fills->latest;
	int err;

	lockdep_assert_held(&img->fills->freezing);
	if (!may_begin(img))
		return -EAGAIN;
	/* One that was given up is in nobody's way. */
	if (instant && qcow2_instant_redirects(instant))
		return -EBUSY;
	err = forget_latest(img);
	if (err)
		return err;
	instant = alloc_instant(img, number, mib);
	if (!instant)
		return -ENOMEM;
	err = qcow2_cut_begin(img, &instant->cut);
	if (err) {
		qcow2_instant_put(instant);
		return err;
	}
	img->fills->latest = instant;
	/* What is sealed is waited for. */
	qcow2_fills_hold_few(img);
	set_frozen(img, instant);
	qcow2_fills_release_few(img);
	/* A suspend that has begun meanwhile may have found none to end; pairs with presuspend */
	smp_mb();
	err = may_begin(img) ? settle(img, instant) : -EAGAIN;
	if (!err)
		qcow2_cut_make(img, instant->cut);
	if (err) {
		stop(instant, QCOW2_INSTANT_THAWED);
		forget_latest(img);
		return err;
	}
	WRITE_ONCE(instant->saved.is_open, true);
	mutex_lock(&all_lock);
	list_add(&instant->node, &all_instants);
	mutex_unlock(&all_lock);
	return 0;
}

int qcow2_instant_begin(struct qcow2_image *img, dev_t number, u64 mib)
{
	unsigned int noio;
	int err;

	if (!mib || mib > QCOW2_INSTANT_MAX_MIB)
		return -EINVAL;
	/* There a guest cluster has one place: all that is overwritten has to be saved, by blocks. */
	if (img->geo.has_data_file && img->geo.cluster_bits < QCOW2_SAVED_SHIFT)
		return -EOPNOTSUPP;
	noio = memalloc_noio_save();
	mutex_lock(&img->fills->freezing);
	err = begin(img, number, mib);
	mutex_unlock(&img->fills->freezing);
	memalloc_noio_restore(noio);
	return err;
}

struct qcow2_instant *qcow2_instant_find(dev_t number)
{
	struct qcow2_instant *instant, *found = NULL;

	mutex_lock(&all_lock);
	list_for_each_entry(instant, &all_instants, node)
		if (instant->number == number) {
			kref_get(&instant->refs);
			found = instant;
			break;
		}
	mutex_unlock(&all_lock);
	return found;
}
