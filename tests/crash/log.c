// SPDX-License-Identifier: GPL-2.0-only
/* Reader of a dm-log-writes log. */
#include <endian.h>
#include <err.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "log.h"
#include "stamp.h"

#define LOG_MAGIC 0x6a736677736872ull
#define LOG_VERSION 1

#define FLAG_FLUSH (1 << 0)
#define FLAG_FUA (1 << 1)
#define FLAG_DISCARD (1 << 2)
#define FLAG_MARK (1 << 3)
#define FLAG_METADATA (1 << 4)

struct log_super {
	uint64_t magic;
	uint64_t version;
	uint64_t nr_entries;
	uint32_t sector_bytes;
};

struct log_entry {
	uint64_t sector;
	uint64_t nr_sectors;
	uint64_t flags;
	uint64_t data_bytes;
};

struct cursor {
	const char *path;
	const uint8_t *base;
	uint64_t bytes;	   /* of the device */
	uint64_t at;	   /* next entry */
	unsigned int unit; /* bytes of one sector as the log counts them */
};

/* Take @bytes from the log; exits if they are not there. */
static const uint8_t *take(struct cursor *c, uint64_t bytes)
{
	const uint8_t *p = c->base + c->at;

	if (bytes > c->bytes - c->at)
		errx(1, "%s: the log ends in the middle of an entry", c->path);
	c->at += bytes;
	return p;
}

static enum entry_kind kind_of(uint64_t flags)
{
	if (flags & FLAG_MARK)
		return ENTRY_MARK;
	if (flags & FLAG_FLUSH)
		return ENTRY_FLUSH;
	return flags & FLAG_FUA ? ENTRY_FUA : ENTRY_PLAIN;
}

static void read_entry(struct cursor *c, struct entry *e)
{
	struct log_entry raw;
	const uint8_t *head = take(c, c->unit);
	uint64_t flags, bytes;

	memcpy(&raw, head, sizeof(raw));
	flags = le64toh(raw.flags);
	bytes = le64toh(raw.nr_sectors) * c->unit;
	e->kind = kind_of(flags);
	e->is_discard = flags & FLAG_DISCARD;
	e->is_metadata = flags & FLAG_METADATA;
	e->sector = le64toh(raw.sector) * (c->unit / SECTOR_BYTES);
	e->nr_sectors = bytes / SECTOR_BYTES;
	if (e->kind == ENTRY_FLUSH && bytes)
		errx(1, "%s: a flush with data, which dm splits", c->path);
	if (e->kind == ENTRY_MARK) {
		e->mark = (const char *)head + sizeof(raw);
		e->mark_bytes = le64toh(raw.data_bytes);
		if (e->mark_bytes > c->unit - sizeof(raw))
			errx(1, "%s: bad mark", c->path);
	}
	if (bytes && !e->is_discard)
		e->data = take(c, bytes);
}

/* The number of an "ack=N" mark, 0 for another one. */
static uint64_t ack_of(const struct entry *e)
{
	static const char word[] = "ack=";
	const size_t len = sizeof(word) - 1;
	char text[32];

	if (e->kind != ENTRY_MARK || e->mark_bytes <= len || e->mark_bytes - len >= sizeof(text) || memcmp(e->mark, word, len))
		return 0;
	memcpy(text, e->mark + len, e->mark_bytes - len);
	text[e->mark_bytes - len] = 0;
	return strtoull(text, NULL, 10);
}

static void map_log(struct cursor *c)
{
	int fd = open(c->path, O_RDONLY);
	off_t end;

	if (fd < 0)
		err(1, "%s", c->path);
	end = lseek(fd, 0, SEEK_END);
	if (end < (off_t)sizeof(struct log_super))
		errx(1, "%s: not a dm-log-writes log", c->path);
	c->bytes = end;
	c->base = mmap(NULL, c->bytes, PROT_READ, MAP_PRIVATE, fd, 0);
	if (c->base == MAP_FAILED)
		err(1, "%s: mmap", c->path);
	close(fd);
}

void log_open(struct log *log, const char *path)
{
	struct cursor c = { .path = path };
	struct log_super super;
	size_t i, segment = 0;
	uint64_t ack = 0;

	map_log(&c);
	memcpy(&super, c.base, sizeof(super));
	if (le64toh(super.magic) != LOG_MAGIC || le64toh(super.version) != LOG_VERSION)
		errx(1, "%s: not a dm-log-writes log", path);
	c.unit = le32toh(super.sector_bytes);
	if (c.unit < SECTOR_BYTES || c.unit > 65536 || c.unit % SECTOR_BYTES)
		errx(1, "%s: bad sector size", path);
	c.at = c.unit;
	log->nr_entries = le64toh(super.nr_entries);
	if (log->nr_entries > c.bytes / c.unit)
		errx(1, "%s: more entries than fit", path);
	log->entries = calloc(log->nr_entries + 1, sizeof(*log->entries));
	if (!log->entries)
		err(1, "%s", path);
	for (i = 0; i < log->nr_entries; i++) {
		struct entry *e = &log->entries[i];

		read_entry(&c, e);
		if (ack_of(e) > ack)
			ack = ack_of(e);
		e->ack = ack;
		e->segment = segment;
		segment += e->kind == ENTRY_FLUSH;
	}
}

size_t log_segment_start(const struct log *log, size_t i)
{
	while (i > 0 && log->entries[i - 1].kind != ENTRY_FLUSH)
		i--;
	return i;
}

size_t log_find_mark(const struct log *log, const char *text)
{
	size_t i;

	for (i = 0; i < log->nr_entries; i++) {
		const struct entry *e = &log->entries[i];

		if (e->kind == ENTRY_MARK && e->mark_bytes == strlen(text) && !memcmp(e->mark, text, e->mark_bytes))
			return i;
	}
	errx(1, "the log has no mark \"%s\"", text);
}
