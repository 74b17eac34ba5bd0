// SPDX-License-Identifier: GPL-2.0-only
/*
 * Reading compressed clusters, and keeping the latest ones decompressed.
 *
 * A slot holds a cluster as the guest sees it. It is found by the L2 entry, which says where
 * the stream is: we write no streams, so what one entry points at is the same for as long as
 * the image is ours.
 *
 *	         get: the slot that was idle for longest, when no slot has the cluster
 *	      +-------------------------------------------------+
 *	      v                                                 |
 *	  being filled ---> held (by any number) ---> idle -----+--- shrinker, drop ---> no memory
 *	      |                                        ^
 *	      +--- error ------------------------------+ (without content)
 *
 * The lock is held for moments only. A slot's mutex is held while it is filled: who wants the
 * same cluster waits there, and others fill theirs meanwhile. Memory is allocated under a mutex,
 * so what reclaims it takes none.
 */
#include <linux/mm.h>
#include <linux/shrinker.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/zlib.h>
#include <linux/zstd.h>

#include "format/compressed-entry.h"
#include "meta/meta.h"

#include "compressed.h"

#define CACHE_BYTES	SZ_2M
#define MIN_SLOTS	2
#define MAX_SLOTS	8

/* Room for streams is had in steps. */
#define SOURCE_STEP	SZ_32K

/**
 * struct memory - what a slot needs to be filled
 * @data: the cluster
 * @source: the stream, or NULL
 * @source_bytes: how much has room there
 * @workspace: of zlib, or where @zstd is
 * @zstd: or NULL
 */
struct memory {
	void *data;
	void *source;
	u32 source_bytes;
	void *workspace;
	zstd_dctx *zstd;
};

/**
 * struct slot - room for a cluster
 * @cluster: what those who hold it see
 * @entry: whose cluster it is, 0 for none; under the lock
 * @holders: how many hold it or wait for it to be filled; under the lock
 * @is_filled: it has the cluster; under @mutex, or under the lock while nobody holds it
 * @memory: or NULL; as @is_filled
 * @mutex: held while it is filled
 * @lru: in qcow2_compressed.lru
 */
struct slot {
	struct qcow2_inflated cluster;
	u64 entry;
	unsigned int holders;
	bool is_filled;
	struct memory *memory;
	struct mutex mutex;
	struct list_head lru;
};

/**
 * struct qcow2_compressed - the slots of an image
 * @lock: protects @lru and the slots
 * @lru: all slots, the one that was used last at the end
 * @wait: for a slot that nobody holds
 * @shrinker: takes the memory of idle slots
 * @slot_pages: about what that is, each
 * @slots: the slots
 */
struct qcow2_compressed {
	spinlock_t lock;
	struct list_head lru;
	wait_queue_head_t wait;
	struct shrinker *shrinker;
	unsigned long slot_pages;
	struct slot slots[];
};

static bool is_zstd(const struct qcow2_image *img)
{
	return img->geo.compression == QCOW2_COMPRESSION_ZSTD;
}

static size_t workspace_bytes(const struct qcow2_image *img)
{
	return is_zstd(img) ? zstd_dctx_workspace_bound() : zlib_inflate_workspacesize();
}

static void free_memory(struct memory *mem)
{
	kvfree(mem->workspace);
	kvfree(mem->source);
	kvfree(mem->data);
	kfree(mem);
}

static struct memory *alloc_memory(const struct qcow2_image *img)
{
	size_t bytes = workspace_bytes(img);
	struct memory *mem;

	mem = kzalloc(sizeof(*mem), GFP_NOIO);
	if (!mem)
		return NULL;
	mem->data = kvmalloc(qcow2_cluster_bytes(&img->geo), GFP_NOIO);
	mem->workspace = kvmalloc(bytes, GFP_NOIO);
	if (is_zstd(img))
		mem->zstd = zstd_init_dctx(mem->workspace, bytes);
	if (mem->data && mem->workspace && (mem->zstd || !is_zstd(img)))
		return mem;
	free_memory(mem);
	return NULL;
}

/* Streams are mostly shorter than a cluster, and twice that is the most that can be described. */
static int have_source(struct memory *mem, u32 bytes)
{
	if (bytes <= mem->source_bytes)
		return 0;
	kvfree(mem->source);
	mem->source_bytes = round_up(bytes, SOURCE_STEP);
	mem->source = kvmalloc(mem->source_bytes, GFP_NOIO);
	if (mem->source)
		return 0;
	mem->source_bytes = 0;
	return -ENOMEM;
}

/* Behind the end of the image there are zeroes: a file reads so, a device has to be spared. */
static int read_source(const struct qcow2_image *img, struct memory *mem, u64 host_off, u32 bytes)
{
	u32 readable = bytes;
	int err;

	if (!qcow2_is_file(img))
		readable = min_t(u64, bytes, qcow2_file_bytes(&img->file) - host_off);
	err = have_source(mem, bytes);
	if (err)
		return err;
	memset(mem->source + readable, 0, bytes - readable);
	return qcow2_file_read(&img->file, host_off, mem->source, readable);
}

/* What comes behind the cluster's last byte is not looked at; QEMU does it so. */
static bool inflate_zlib(const struct memory *mem, u32 bytes, u32 want)
{
	z_stream z = {
		.workspace = mem->workspace,
		.next_in = mem->source,
		.avail_in = bytes,
		.next_out = mem->data,
		.avail_out = want,
	};
	int result;

	if (zlib_inflateInit2(&z, -MAX_WBITS) != Z_OK)
		return false;
	result = zlib_inflate(&z, Z_FINISH);
	return (result == Z_STREAM_END || result == Z_BUF_ERROR) && !z.avail_out;
}

/*
 * A cluster may be several frames. The length of each has to be known first, as what comes
 * behind the last one is no frame. Each has some, so this comes to an end.
 */
static bool inflate_zstd(const struct memory *mem, size_t bytes, u32 want)
{
	const void *stream = mem->source;
	size_t frame, got;

	for (u32 done = 0; done < want; done += got) {
		frame = zstd_find_frame_compressed_size(stream, bytes);
		if (zstd_is_error(frame))
			return false;
		got = zstd_decompress_dctx(mem->zstd, mem->data + done, want - done, stream, frame);
		if (zstd_is_error(got))
			return false;
		stream += frame;
		bytes -= frame;
		cond_resched();
	}
	return true;
}

static bool inflate(const struct qcow2_image *img, const struct memory *mem, u32 bytes)
{
	u32 want = qcow2_cluster_bytes(&img->geo);

	return is_zstd(img) ? inflate_zstd(mem, bytes, want) : inflate_zlib(mem, bytes, want);
}

static int damaged(struct qcow2_image *img, u64 host_off)
{
	qcow2_bad_metadata(img, "compressed cluster", host_off);
	return -EIO;
}

static int fill(struct qcow2_image *img, struct slot *slot, u64 entry)
{
	u64 host_off = qcow2_compressed_offset(&img->geo, entry);
	u32 bytes = qcow2_compressed_bytes(&img->geo, entry);
	int err;

	lockdep_assert_held(&slot->mutex);
	if (host_off >= qcow2_file_bytes(&img->file))
		return damaged(img, host_off);
	if (!slot->memory)
		slot->memory = alloc_memory(img);
	if (!slot->memory)
		return -ENOMEM;
	err = read_source(img, slot->memory, host_off, bytes);
	if (err)
		return err;
	if (!inflate(img, slot->memory, bytes))
		return damaged(img, host_off);
	slot->cluster.data = slot->memory->data;
	return 0;
}

static struct slot *find_slot(struct qcow2_compressed *c, u64 entry)
{
	struct slot *slot;

	lockdep_assert_held(&c->lock);
	list_for_each_entry(slot, &c->lru, lru)
		if (slot->entry == entry)
			return slot;
	list_for_each_entry(slot, &c->lru, lru)
		if (!slot->holders)
			return slot;
	return NULL;
}

/* Return: a slot that is now held, or NULL when others hold all. */
static struct slot *hold_slot(struct qcow2_compressed *c, u64 entry)
{
	struct slot *slot;

	spin_lock(&c->lock);
	slot = find_slot(c, entry);
	if (slot) {
		if (slot->entry != entry)
			slot->is_filled = false;
		slot->entry = entry;
		slot->holders++;
		list_move_tail(&slot->lru, &c->lru);
	}
	spin_unlock(&c->lock);
	return slot;
}

struct qcow2_inflated *qcow2_compressed_get(struct qcow2_image *img, u64 entry)
{
	struct qcow2_compressed *c = img->compressed;
	struct slot *slot;
	int err = 0;

	wait_event(c->wait, (slot = hold_slot(c, entry)));
	mutex_lock(&slot->mutex);
	if (!slot->is_filled) {
		err = fill(img, slot, entry);
		slot->is_filled = !err;
	}
	mutex_unlock(&slot->mutex);
	if (!err)
		return &slot->cluster;
	qcow2_compressed_put(img, &slot->cluster);
	return ERR_PTR(err);
}

void qcow2_compressed_put(struct qcow2_image *img, struct qcow2_inflated *cluster)
{
	struct slot *slot = container_of(cluster, struct slot, cluster);
	struct qcow2_compressed *c = img->compressed;
	bool is_idle;

	spin_lock(&c->lock);
	is_idle = !--slot->holders;
	spin_unlock(&c->lock);
	if (is_idle)
		wake_up(&c->wait);
}

int qcow2_compressed_read(struct qcow2_image *img, u64 entry, u64 guest_off, void *buf, u32 bytes)
{
	struct qcow2_inflated *cluster = qcow2_compressed_get(img, entry);

	if (IS_ERR(cluster))
		return PTR_ERR(cluster);
	memcpy(buf, qcow2_inflated_data(cluster) + qcow2_in_cluster(&img->geo, guest_off), bytes);
	qcow2_compressed_put(img, cluster);
	return 0;
}

/* The memory of a slot that nobody holds, the one that was idle for longest. */
static struct memory *take_memory(struct qcow2_compressed *c)
{
	struct memory *mem = NULL;
	struct slot *slot;

	spin_lock(&c->lock);
	list_for_each_entry(slot, &c->lru, lru) {
		if (slot->holders || !slot->memory)
			continue;
		mem = slot->memory;
		slot->memory = NULL;
		slot->is_filled = false;
		break;
	}
	spin_unlock(&c->lock);
	return mem;
}

static unsigned long free_idle(struct qcow2_compressed *c, unsigned long pages)
{
	unsigned long freed = 0;
	struct memory *mem;

	while (freed < pages) {
		mem = take_memory(c);
		if (!mem)
			break;
		free_memory(mem);
		freed += c->slot_pages;
	}
	return freed;
}

static unsigned long shrink_count(struct shrinker *s, struct shrink_control *sc)
{
	struct qcow2_compressed *c = s->private_data;
	unsigned long pages = 0;
	struct slot *slot;

	spin_lock(&c->lock);
	list_for_each_entry(slot, &c->lru, lru)
		if (!slot->holders && slot->memory)
			pages += c->slot_pages;
	spin_unlock(&c->lock);
	return pages;
}

static unsigned long shrink_scan(struct shrinker *s, struct shrink_control *sc)
{
	return free_idle(s->private_data, sc->nr_to_scan) ?: SHRINK_STOP;
}

static int init_shrinker(struct qcow2_image *img, struct qcow2_compressed *c)
{
	struct shrinker *s = shrinker_alloc(0, "dm-qcow2-inflated:%s", qcow2_name(img));

	if (!s)
		return -ENOMEM;
	s->count_objects = shrink_count;
	s->scan_objects = shrink_scan;
	s->private_data = c;
	c->shrinker = s;
	shrinker_register(s);
	return 0;
}

int qcow2_compressed_init(struct qcow2_image *img)
{
	u64 cluster_bytes = qcow2_cluster_bytes(&img->geo);
	unsigned int nr = clamp_t(u64, CACHE_BYTES / cluster_bytes, MIN_SLOTS, MAX_SLOTS);
	struct qcow2_compressed *c = kzalloc(struct_size(c, slots, nr), GFP_KERNEL);
	int err;

	if (!c)
		return -ENOMEM;
	spin_lock_init(&c->lock);
	INIT_LIST_HEAD(&c->lru);
	init_waitqueue_head(&c->wait);
	c->slot_pages = (cluster_bytes + SOURCE_STEP + workspace_bytes(img)) >> PAGE_SHIFT;
	for (unsigned int i = 0; i < nr; i++) {
		mutex_init(&c->slots[i].mutex);
		list_add_tail(&c->slots[i].lru, &c->lru);
	}
	err = init_shrinker(img, c);
	if (err) {
		kfree(c);
		return err;
	}
	img->compressed = c;
	return 0;
}

void qcow2_compressed_drop(struct qcow2_image *img)
{
	free_idle(img->compressed, ULONG_MAX);
}

void qcow2_compressed_exit(struct qcow2_image *img)
{
	struct qcow2_compressed *c = img->compressed;

	shrinker_free(c->shrinker);
	qcow2_compressed_drop(img);
	kfree(c);
	img->compressed = NULL;
}
