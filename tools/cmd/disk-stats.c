// SPDX-License-Identifier: GPL-2.0-only
/* The counters of a disk: from the block layer, the target, and the server of its guest. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <time.h>

#include "disk-stats.h"
#include "server/control.h"
#include "threads.h"

#define SECTOR_SHIFT	9
#define MAX_PAGE_BYTES	4096

const struct stat_def stat_defs[NR_STATS] = {
	[STAT_SIZE] = { "SIZE", "size_bytes", "vblk_disk_size_bytes", STAT_BYTES,
		"Size that a guest sees." },
	[STAT_READS] = { "READS", "reads", "vblk_disk_reads_total", STAT_COUNT,
		"Reads completed." },
	[STAT_READ_BYTES] = { "READ", "read_bytes", "vblk_disk_read_bytes_total", STAT_BYTES,
		"Bytes read." },
	[STAT_READ_MS] = { "READ_MS", "read_ms", "vblk_disk_read_seconds_total", STAT_MS,
		"Time that all reads took." },
	[STAT_WRITES] = { "WRITES", "writes", "vblk_disk_writes_total", STAT_COUNT,
		"Writes and flushes completed." },
	[STAT_WRITE_BYTES] = { "WRITTEN", "write_bytes", "vblk_disk_write_bytes_total", STAT_BYTES,
		"Bytes written." },
	[STAT_WRITE_MS] = { "WRITE_MS", "write_ms", "vblk_disk_write_seconds_total", STAT_MS,
		"Time that all writes and flushes took." },
	[STAT_DISCARDS] = { "DISCARDS", "discards", "vblk_disk_discards_total", STAT_COUNT,
		"Discards completed." },
	[STAT_DISCARD_BYTES] = { "DISCARDED", "discard_bytes", "vblk_disk_discard_bytes_total",
		STAT_BYTES, "Bytes discarded." },
	[STAT_BUSY_MS] = { "BUSY_MS", "busy_ms", "vblk_disk_busy_seconds_total", STAT_MS,
		"Time in which requests were under way." },
	[STAT_IN_FLIGHT] = { "INFLIGHT", "in_flight", "vblk_disk_in_flight", STAT_COUNT,
		"Requests under way." },
	[STAT_USED] = { "USED", "used_bytes", "vblk_image_used_bytes", STAT_BYTES,
		"Bytes up to the end of the image, what is free in it included." },
	[STAT_LEFT] = { "LEFT", "left_bytes", "vblk_image_left_bytes", STAT_BYTES,
		"Bytes that the host has left for the image, as last looked." },
	[STAT_CACHE] = { "CACHE", "cache_bytes", "vblk_image_cache_bytes", STAT_BYTES,
		"Metadata in the cache." },
	[STAT_CACHE_LIMIT] = { "CACHE_LIMIT", "cache_limit_bytes", "vblk_image_cache_limit_bytes",
		STAT_BYTES, "Limit of the metadata cache." },
	[STAT_HITS] = { "HITS", "cache_hits", "vblk_image_cache_hits_total", STAT_COUNT,
		"Look-ups of metadata that the cache had." },
	[STAT_MISSES] = { "MISSES", "cache_misses", "vblk_image_cache_misses_total", STAT_COUNT,
		"Look-ups of metadata that had to be read." },
	[STAT_COMMITS] = { "COMMITS", "commits", "vblk_image_commits_total", STAT_COUNT,
		"Commits of metadata." },
	[STAT_WAITING] = { "WAITING", "waiting", "vblk_image_waiting", STAT_COUNT,
		"Requests that wait for space on the host." },
	[STAT_FILLS] = { "FILLS", "fills", "vblk_image_fills", STAT_COUNT,
		"Clusters written in part that the next commit fills up." },
	[STAT_DROPPED] = { "DROPPED", "dropped_clusters", "vblk_image_dropped_clusters", STAT_COUNT,
		"Clusters that nothing points at and that are not free yet." },
	[STAT_EXTENTS] = { "EXTENTS", "leased_extents", "vblk_image_leased_extents", STAT_COUNT,
		"Extents of the image file that are leased." },
	[STAT_FAILED] = { "FAILED", "failed", "vblk_image_failed", STAT_BOOL,
		"Whether the image takes no writes until it has been checked." },
	[STAT_ANSWERS] = { "ANSWERS", "answers", "vblk_server_up", STAT_BOOL,
		"Whether the server of the disk answers." },
	[STAT_GUEST_READS] = { "G_READS", "guest_reads", "vblk_guest_reads_total", STAT_COUNT,
		"Reads of the guest." },
	[STAT_GUEST_READ_BYTES] = { "G_READ", "guest_read_bytes", "vblk_guest_read_bytes_total",
		STAT_BYTES, "Bytes that the guest has read." },
	[STAT_GUEST_WRITES] = { "G_WRITES", "guest_writes", "vblk_guest_writes_total", STAT_COUNT,
		"Writes of the guest." },
	[STAT_GUEST_WRITE_BYTES] = { "G_WRITTEN", "guest_write_bytes",
		"vblk_guest_write_bytes_total", STAT_BYTES, "Bytes that the guest has written." },
	[STAT_GUEST_FLUSHES] = { "FLUSHES", "guest_flushes", "vblk_guest_flushes_total",
		STAT_COUNT, "Flushes of the guest." },
	[STAT_GUEST_OTHERS] = { "G_OTHERS", "guest_others", "vblk_guest_others_total", STAT_COUNT,
		"Other requests of the guest, malformed ones included." },
	[STAT_GUEST_ERRORS] = { "ERRORS", "guest_errors", "vblk_guest_errors_total", STAT_COUNT,
		"Requests of the guest that have failed." },
	[STAT_GUEST_IN_FLIGHT] = { "G_INFLIGHT", "guest_in_flight", "vblk_guest_in_flight",
		STAT_COUNT, "Requests of the guest under way." },
	[STAT_GUEST_KICKS] = { "KICKS", "guest_kicks", "vblk_guest_kicks_total", STAT_COUNT,
		"Times that a queue was started." },
	[STAT_GUEST_SIGNALS] = { "SIGNALS", "guest_signals", "vblk_guest_signals_total", STAT_COUNT,
		"Times that the guest was told of requests that were done." },
	[STAT_GUEST_BOUNCED] = { "BOUNCED", "guest_bounced", "vblk_guest_bounced_total", STAT_COUNT,
		"Requests copied because the guest's buffers are not aligned." },
	[STAT_GUEST_STALLS] = { "STALLS", "guest_stalls", "vblk_guest_stalls_total", STAT_COUNT,
		"Times that a queue paused because too much was under way." },
	[STAT_SERVER_CPU_MS] = { "SERVER_MS", "server_cpu_ms", "vblk_server_cpu_seconds_total",
		STAT_MS, "CPU time of the server, its kernel workers included." },
};

/** stat_is_counter() - does it only grow? */
bool stat_is_counter(enum stat_id id)
{
	const char *metric = stat_defs[id].metric;
	size_t len = strlen(metric);

	return len > 6 && !strcmp(metric + len - 6, "_total");
}

static void set(struct disk_stats *s, enum stat_id id, uint64_t value)
{
	s->has[id] = true;
	s->value[id] = value;
}

/* The kernel's Documentation/block/stat.rst */
static void read_block_device(const struct attached *a, struct disk_stats *s)
{
	uintmax_t v[17] = {};
	char path[64];
	FILE *f;
	int n = 0;

	snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/stat", major(a->d.dev), minor(a->d.dev));
	f = fopen(path, "re");
	if (!f)
		return;
	while (n < 17 && fscanf(f, "%ju", &v[n]) == 1)
		n++;
	fclose(f);
	if (n < 17)
		return;
	set(s, STAT_READS, v[0]);
	set(s, STAT_READ_BYTES, v[2] << SECTOR_SHIFT);
	set(s, STAT_READ_MS, v[3]);
	set(s, STAT_WRITES, v[4]);
	set(s, STAT_WRITE_BYTES, v[6] << SECTOR_SHIFT);
	set(s, STAT_WRITE_MS, v[7]);
	set(s, STAT_IN_FLIGHT, v[8]);
	set(s, STAT_BUSY_MS, v[9]);
	set(s, STAT_DISCARDS, v[11]);
	set(s, STAT_DISCARD_BYTES, v[13] << SECTOR_SHIFT);
}

/* Documentation/dm-qcow2.rst, Status; the words keep their places, and older modules have fewer. */
static void parse_target(const char *status, uint64_t cluster_bytes, struct disk_stats *s)
{
	uintmax_t pages, limit, hits, misses, waiting, commits, extents, fills, dropped;
	uint64_t page_bytes = cluster_bytes < MAX_PAGE_BYTES ? cluster_bytes : MAX_PAGE_BYTES;

	if (sscanf(status, "%*s %ju/%ju %ju/%ju %ju %ju", &pages, &limit, &hits, &misses, &waiting,
		   &commits) != 6)
		return;
	set(s, STAT_CACHE, pages * page_bytes);
	set(s, STAT_CACHE_LIMIT, limit * page_bytes);
	set(s, STAT_HITS, hits);
	set(s, STAT_MISSES, misses);
	set(s, STAT_WAITING, waiting);
	set(s, STAT_COMMITS, commits);
	if (sscanf(status, "%*s %*s %*s %*s %*s %*s %*s %ju", &extents) == 1)
		set(s, STAT_EXTENTS, extents);
	if (sscanf(status, "%*s %*s %*s %*s %*s %*s %*s %*s %*s %ju/%ju", &fills, &dropped) == 2) {
		set(s, STAT_FILLS, fills);
		set(s, STAT_DROPPED, dropped);
	}
}

static void read_target(const struct attached *a, struct disk_stats *s)
{
	uint64_t sectors;
	char *status;

	if (a->bytes)
		set(s, STAT_SIZE, a->bytes);
	if (a->has_usage) {
		set(s, STAT_USED, a->used_bytes);
		set(s, STAT_FAILED, a->has_failed);
	}
	if (a->has_left)
		set(s, STAT_LEFT, a->left_bytes);
	if (dmdev_status(a->d.name, &sectors, &status))
		return;
	parse_target(status, a->cluster_bytes, s);
	free(status);
}

static void add_queues(json_object *queues, struct disk_stats *s)
{
	const char *key;
	json_object *v;

	for (enum stat_id id = STAT_GUEST_READS; id <= STAT_GUEST_STALLS; id++) {
		key = stat_defs[id].key + strlen("guest_");
		set(s, id, 0);
		for (size_t i = 0; i < json_object_array_length(queues); i++)
			if (json_object_object_get_ex(json_object_array_get_idx(queues, i), key, &v))
				s->value[id] += json_object_get_uint64(v);
	}
}

/**
 * disk_stats_take_answer() - what the disk's server has answered to "stats"
 * @reply: that, or NULL
 */
void disk_stats_take_answer(json_object *reply, struct disk_stats *s)
{
	json_object *queues;
	const char *why;

	set(s, STAT_ANSWERS, !!reply);
	/* There are none without a guest. */
	if (reply && !control_reply_code(reply, &why) &&
	    json_object_object_get_ex(reply, "queues", &queues) &&
	    json_object_is_type(queues, json_type_array) && json_object_array_length(queues))
		add_queues(queues, s);
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}

/**
 * disk_stats_read() - what there is to know of a disk now without its server
 * @a: as it has been found just now
 * @s: filled in; what cannot be read, or does not apply, is left out
 */
void disk_stats_read(const struct attached *a, struct disk_stats *s)
{
	memset(s, 0, sizeof(*s));
	s->at_ns = now_ns();
	read_block_device(a, s);
	if (a->d.is_live)
		read_target(a, s);
	if (a->is_served && a->server)
		set(s, STAT_SERVER_CPU_MS, threads_process_cpu_ms(a->server));
}
