// SPDX-License-Identifier: GPL-2.0-only
/*
 * Backing images: shared, looked at, and checked not to have changed.
 *
 * Which images a chain has is the table's word, and the formats, too: nothing is probed, and no
 * name that stands in an image is opened. But a header that has a backing file, where the
 * table has none below, or the reverse, would have guests see other data than QEMU
 * shows them: it is refused.
 */
#include <linux/blkdev.h>
#include <linux/slab.h>

#include "lease/lease.h"
#include "meta/meta.h"

#include "base.h"
#include "compressed.h"
#include "data-file.h"

/* Metadata is looked at once, to make the chain map. */
#define CACHE_MB	4

static DEFINE_MUTEX(bases_lock);
static LIST_HEAD(bases);

/* Its files: the image, and what has its data, if that is another one. */
static unsigned int nr_files(const struct qcow2_base *base)
{
	return 1 + qcow2_has_data_file(&base->img);
}

static struct qcow2_file *file_of(struct qcow2_base *base, unsigned int i)
{
	return i ? qcow2_data_file(&base->img) : &base->img.file;
}

static int check_chain(const struct qcow2_base *base, const struct qcow2_header *h,
		       const char **why)
{
	if (h->backing_offset && !base->below) {
		*why = "backing image has a backing file that the table lacks";
		return -EINVAL;
	}
	if (!h->backing_offset && base->below) {
		*why = "table has an image below one that has no backing file";
		return -EINVAL;
	}
	if (1U << min(h->cluster_bits, QCOW2_MAX_PAGE_BITS) < base->img.file.io_align) {
		*why = "backing image's clusters are smaller than its direct I/O alignment";
		return -EOPNOTSUPP;
	}
	return qcow2_data_check(&base->img, h, why);
}

static void forget_compressed(struct qcow2_image *img)
{
	if (img->compressed)
		qcow2_compressed_exit(img);
}

static int read_header(struct qcow2_base *base, const char **why)
{
	struct qcow2_image *img = &base->img;
	struct qcow2_header h;
	int err;

	if (base->is_raw) {
		*why = "table has an image below one that has no backing file";
		base->bytes = round_up(qcow2_file_bytes(&img->file), SECTOR_SIZE);
		return base->below ? -EINVAL : 0;
	}
	err = qcow2_read_header(img, &h, why) ?: check_chain(base, &h, why);
	if (err)
		return err;
	forget_compressed(img);
	qcow2_geometry_init(&img->geo, &h);
	qcow2_cache_set_limit(img, CACHE_MB);
	err = qcow2_compressed_init(img);
	if (err)
		return err;
	qcow2_take_header(img, &h);
	base->bytes = img->geo.size;
	return 0;
}

/* What the page cache has of its files, in case that they are block devices. */
static int invalidate(struct qcow2_base *base)
{
	int err = 0;

	for (unsigned int i = 0; i < nr_files(base) && !err; i++)
		err = qcow2_file_invalidate(file_of(base, i));
	return err;
}

/* Return: false when nobody could say later whether it has changed. Of a block device nobody can. */
static bool take_stamps(struct qcow2_base *base)
{
	bool is_known = true;

	base->is_stamped = true;
	for (unsigned int i = 0; i < nr_files(base); i++) {
		if (qcow2_file_is_written(file_of(base, i)))
			base->is_stamped = false;
		else if (file_of(base, i)->bdev)
			is_known = false;
		else if (!qcow2_file_stamp(file_of(base, i), &base->stamps[i]))
			base->is_stamped = false;
	}
	return is_known && base->is_stamped;
}

/* Nobody reads from it: see what it is now, unless somebody is still writing to it. */
static int look_at(struct qcow2_base *base, const char **why)
{
	bool is_known;
	int err;

	lockdep_assert_held(&base->lock);
	base->generation++;
	base->map_generation++;
	qcow2_chain_map_drop(&base->map);
	if (!base->is_raw)
		qcow2_cache_drop(&base->img);
	/* Before it is read: what changes from here on is seen. */
	is_known = take_stamps(base);
	*why = "page cache of a backing image cannot be written";
	err = invalidate(base) ?: read_header(base, why);
	base->is_stamped &= !err;
	base->is_known = is_known && !err;
	return err;
}

/* A block device has no times. */
static bool differs(const struct qcow2_file *file, const struct qcow2_stamp *stamp)
{
	struct qcow2_stamp now;

	return qcow2_file_stamp(file, &now) &&
	       (now.bytes != stamp->bytes || !timespec64_equal(&now.mtime, &stamp->mtime));
}

static bool has_changed(struct qcow2_base *base)
{
	for (unsigned int i = 0; base->is_stamped && i < nr_files(base); i++)
		if (differs(file_of(base, i), &base->stamps[i]))
			return true;
	return false;
}

/* 0 when nobody could say whether it has changed. */
static u64 known_generation(const struct qcow2_base *base)
{
	lockdep_assert_held(&base->lock);
	return base->is_known ? base->generation : 0;
}

/* Opening */

static int set_chain(struct qcow2_base *base, struct qcow2_base *below)
{
	unsigned int depth = (below ? below->depth : 0) + 1;

	base->chain = kcalloc(depth, sizeof(*base->chain), GFP_KERNEL);
	base->images = kcalloc(2 * depth, sizeof(*base->images), GFP_KERNEL);
	if (!base->chain || !base->images)
		return -ENOMEM;
	base->chain[0] = base;
	if (below)
		memcpy(base->chain + 1, below->chain, (depth - 1) * sizeof(*base->chain));
	for (unsigned int i = 0; i < depth; i++) {
		base->images[i] = &base->chain[i]->img;
		base->images[depth + i] = base->chain[i]->img.data;
	}
	base->below = below;
	base->depth = depth;
	return 0;
}

static struct qcow2_base *alloc_base(struct dm_target *ti, const struct qcow2_table_layer *layer)
{
	struct qcow2_base *base = kzalloc(sizeof(*base), GFP_KERNEL);
	int err;

	if (!base) {
		ti->error = "Out of memory";
		return ERR_PTR(-ENOMEM);
	}
	mutex_init(&base->lock);
	base->is_raw = layer->is_raw;
	base->refs = 1;
	err = qcow2_file_open_backing(&base->img.file, ti, layer);
	if (err)
		goto err_free;
	err = qcow2_data_open(&base->img, ti, NULL, layer);
	if (err)
		goto err_close;
	return base;

err_close:
	qcow2_file_close_backing(&base->img.file);
err_free:
	kfree(base);
	return ERR_PTR(err);
}

static void free_base(struct qcow2_base *base)
{
	qcow2_data_close(&base->img, NULL);
	qcow2_file_close_backing(&base->img.file);
	kfree(base->img.name);
	kfree(base->images);
	kfree(base->chain);
	kfree(base);
}

/* Everything but the file. */
static int init_base(struct qcow2_base *base, struct qcow2_base *below)
{
	int err;

	base->img.name = kasprintf(GFP_KERNEL, "%pD", base->img.file.filp);
	if (!base->img.name)
		return -ENOMEM;
	err = set_chain(base, below);
	if (err)
		return err;
	err = qcow2_chain_map_init(&base->map, base->img.name);
	if (err)
		return err;
	err = base->is_raw ? 0 : qcow2_cache_init(&base->img, CACHE_MB);
	if (err)
		qcow2_chain_map_exit(&base->map);
	return err;
}

static void exit_base(struct qcow2_base *base)
{
	if (!base->is_raw) {
		forget_compressed(&base->img);
		qcow2_cache_exit(&base->img);
	}
	qcow2_chain_map_exit(&base->map);
}

/* @base is open, and known to nobody. */
static int set_up(struct qcow2_base *base, struct qcow2_base *below, struct dm_target *ti,
		  const struct qcow2_table *table, const struct qcow2_table_layer *layer)
{
	const char *why = "Out of memory";
	int err;

	err = init_base(base, below);
	if (err)
		goto err_why;
	err = qcow2_file_lock_backing(&base->img.file, ti, table, layer->path) ?:
	      qcow2_data_lock_backing(&base->img, ti, table, layer);
	if (err)
		goto err_exit;
	mutex_lock(&base->lock);
	err = look_at(base, &why);
	mutex_unlock(&base->lock);
	if (!err)
		return 0;
	ti->error = (char *)why;
err_exit:
	exit_base(base);
	return err;
err_why:
	ti->error = (char *)why;
	return err;
}

static struct qcow2_base *find_locked(const struct qcow2_base *base,
				      const struct qcow2_base *below)
{
	struct qcow2_base *other;

	lockdep_assert_held(&bases_lock);
	list_for_each_entry(other, &bases, node)
		if (other->below == below && other->is_raw == base->is_raw &&
		    qcow2_file_is_same(&other->img.file, &base->img.file) &&
		    qcow2_data_is_same(&other->img, &base->img)) {
			other->refs++;
			return other;
		}
	return NULL;
}

/* Return: one like it that others have, with a reference, or NULL. */
static struct qcow2_base *find_base(const struct qcow2_base *base, const struct qcow2_base *below)
{
	struct qcow2_base *other;

	mutex_lock(&bases_lock);
	other = find_locked(base, below);
	mutex_unlock(&bases_lock);
	return other;
}

/* Return: the base, or one like it that came first; with a reference. */
static struct qcow2_base *insert_base(struct qcow2_base *base)
{
	struct qcow2_base *first;

	mutex_lock(&bases_lock);
	first = find_locked(base, base->below);
	if (!first) {
		list_add(&base->node, &bases);
		if (base->below)
			base->below->refs++;
		first = base;
	}
	mutex_unlock(&bases_lock);
	return first;
}

/* One that others have: it may have changed while nobody used it. */
static int check_shared(struct qcow2_base *base, struct dm_target *ti)
{
	const char *why = "Backing image has changed while it is in use";
	unsigned int noio;
	int err = 0;

	/* A resume wants this lock, and writeback may wait for that. */
	noio = memalloc_noio_save();
	mutex_lock(&base->lock);
	if (!base->nr_active && (!base->is_known || has_changed(base)))
		err = look_at(base, &why);
	else if (has_changed(base))
		err = -ESTALE;
	mutex_unlock(&base->lock);
	memalloc_noio_restore(noio);
	if (err)
		ti->error = (char *)why;
	return err;
}

/* A base holds those below it; the last one to go takes them with it. */
static void put_base(struct qcow2_base *base)
{
	struct qcow2_base *below;
	bool is_last;

	for (; base; base = below) {
		mutex_lock(&bases_lock);
		is_last = !--base->refs;
		if (is_last)
			list_del(&base->node);
		mutex_unlock(&bases_lock);
		if (!is_last)
			return;
		below = base->below;
		exit_base(base);
		free_base(base);
	}
}

/*
 * Make an image a base, or use the one that others have made of it, with a reference. The caller
 * has a reference to @below, and keeps it. Whoever waits for the image's host waits alone.
 */
static struct qcow2_base *get_base(struct dm_target *ti, const struct qcow2_table *table,
				   const struct qcow2_table_layer *layer,
				   struct qcow2_base *below)
{
	struct qcow2_base *base, *other;
	int err;

	base = alloc_base(ti, layer);
	if (IS_ERR(base))
		return base;
	other = find_base(base, below);
	if (!other) {
		err = set_up(base, below, ti, table, layer);
		if (err) {
			free_base(base);
			return ERR_PTR(err);
		}
		other = insert_base(base);
		if (other == base)
			return base;
		exit_base(base);
	}
	free_base(base);
	err = check_shared(other, ti);
	if (!err)
		return other;
	put_base(other);
	return ERR_PTR(err);
}

static int add_user(struct qcow2_base_user *u, struct qcow2_base *base, struct dm_target *ti)
{
	unsigned int i;
	int err;

	for (i = 0; i < nr_files(base); i++) {
		err = qcow2_file_add_user(file_of(base, i), &u->files[i], ti);
		if (err)
			goto err_remove;
	}
	return 0;

err_remove:
	while (i)
		qcow2_file_remove_user(&u->files[--i], ti);
	return err;
}

static void remove_user(struct qcow2_base_user *u, struct dm_target *ti)
{
	for (unsigned int i = nr_files(u->base); i; i--)
		qcow2_file_remove_user(&u->files[i - 1], ti);
}

static int open_user(struct qcow2_bases *b, struct dm_target *ti, const struct qcow2_table *table)
{
	struct qcow2_base_user *u = &b->users[b->count];
	struct qcow2_base *base;
	int err;

	base = get_base(ti, table, &table->layers[b->count], qcow2_bases_top(b));
	if (IS_ERR(base))
		return PTR_ERR(base);
	err = add_user(u, base, ti);
	if (err) {
		put_base(base);
		return err;
	}
	u->base = base;
	mutex_lock(&base->lock);
	u->generation = known_generation(base);
	mutex_unlock(&base->lock);
	b->count++;
	return 0;
}

int qcow2_bases_open(struct qcow2_bases *b, struct dm_target *ti, const struct qcow2_table *table)
{
	int err = 0;

	b->count = 0;
	b->users = NULL;
	if (table->nr_layers == 1)
		return 0;
	b->users = kcalloc(table->nr_layers - 1, sizeof(*b->users), GFP_KERNEL);
	if (!b->users) {
		ti->error = "Out of memory";
		return -ENOMEM;
	}
	while (b->count < table->nr_layers - 1 && !err)
		err = open_user(b, ti, table);
	if (err)
		qcow2_bases_close(b, ti);
	return err;
}

void qcow2_bases_close(struct qcow2_bases *b, struct dm_target *ti)
{
	while (b->count) {
		struct qcow2_base_user *u = &b->users[--b->count];

		remove_user(u, ti);
		put_base(u->base);
	}
	kfree(b->users);
	b->users = NULL;
}

/* Activation */

/* What is below may have been looked at again; it is active already. */
static void follow_below(struct qcow2_base *base)
{
	if (!base->below || base->below_generation == base->below->map_generation)
		return;
	qcow2_chain_map_drop(&base->map);
	base->below_generation = base->below->map_generation;
	base->map_generation++;
}

/* See what it is, if nobody could say so far whether that has changed, and what is below. */
static int refresh(struct qcow2_base *base, const char **why)
{
	int err = !base->is_known && !base->nr_active ? look_at(base, why) : 0;

	if (!err)
		follow_below(base);
	return err;
}

static bool is_as_loaded(const struct qcow2_base_user *u)
{
	return !has_changed(u->base) && (!u->generation || u->generation == u->base->generation);
}

static void start_leases(struct qcow2_base *base)
{
	for (unsigned int i = 0; i < nr_files(base); i++)
		qcow2_lease_start(file_of(base, i)->lease);
}

static void stop_leases(struct qcow2_base *base)
{
	for (unsigned int i = 0; i < nr_files(base); i++)
		qcow2_lease_stop(file_of(base, i)->lease);
}

static int activate(struct qcow2_base_user *u, const char *name)
{
	struct qcow2_base *base = u->base;
	const char *why;
	int err;

	mutex_lock(&base->lock);
	err = refresh(base, &why);
	if (!err && !is_as_loaded(u)) {
		why = "has changed, reload the table";
		err = -ESTALE;
	}
	if (!err) {
		u->generation = known_generation(base);
		if (!base->nr_active++)
			start_leases(base);
	}
	mutex_unlock(&base->lock);
	if (err)
		DMERR("%s: backing image %s: %s", name, base->img.name, why);
	return err;
}

static void deactivate(struct qcow2_base *base)
{
	mutex_lock(&base->lock);
	if (!--base->nr_active)
		stop_leases(base);
	mutex_unlock(&base->lock);
}

static int activate_files(struct qcow2_base_user *u)
{
	unsigned int i;
	int err;

	for (i = 0; i < nr_files(u->base); i++) {
		err = qcow2_file_activate(&u->files[i]);
		if (err)
			goto err_deactivate;
	}
	return 0;

err_deactivate:
	while (i)
		qcow2_file_deactivate(&u->files[--i], false);
	return err;
}

static void deactivate_files(struct qcow2_base_user *u)
{
	for (unsigned int i = nr_files(u->base); i; i--)
		qcow2_file_deactivate(&u->files[i - 1], false);
}

static int activate_user(struct qcow2_base_user *u, const char *name)
{
	int err = activate_files(u);

	if (err) {
		DMERR("%s: backing image %s is being written to", name, u->base->img.name);
		return err;
	}
	err = activate(u, name);
	if (err)
		deactivate_files(u);
	return err;
}

static void deactivate_user(struct qcow2_base_user *u)
{
	deactivate(u->base);
	deactivate_files(u);
}

int qcow2_bases_activate(struct qcow2_bases *b, const char *name)
{
	unsigned int i;
	int err;

	for (i = 0; i < b->count; i++) {
		err = activate_user(&b->users[i], name);
		if (err)
			goto err_deactivate;
	}
	return 0;

err_deactivate:
	while (i)
		deactivate_user(&b->users[--i]);
	return err;
}

void qcow2_bases_deactivate(struct qcow2_bases *b)
{
	for (unsigned int i = b->count; i; i--)
		deactivate_user(&b->users[i - 1]);
}

bool qcow2_bases_have_failed(const struct qcow2_bases *b)
{
	for (unsigned int i = 0; i < b->count; i++)
		if (b->users[i].files[0].has_failed || b->users[i].files[1].has_failed)
			return true;
	return false;
}
