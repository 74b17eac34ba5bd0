// SPDX-License-Identifier: GPL-2.0-only
/* Where the power is cut, and what of the unflushed writes survives. */
#include <err.h>
#include <stdlib.h>

#include "cuts.h"
#include "random.h"

static bool is_plain(const struct log *log, size_t i)
{
	return log->entries[i].kind == ENTRY_PLAIN;
}

/* Here all writes of a commit can be lost, or any of them alone. */
static bool is_last_before_flush(const struct log *log, size_t i)
{
	return is_plain(log, i) && i + 1 < log->nr_entries && log->entries[i + 1].kind == ENTRY_FLUSH;
}

static bool is_further_before(const struct log *log, size_t i)
{
	return is_plain(log, i) && !is_last_before_flush(log, i);
}

static bool is_not_plain(const struct log *log, size_t i)
{
	return !is_plain(log, i);
}

/* Append to @cuts one entry of each of @want equal parts of the entries that are so; returns how many. */
static size_t choose(const struct log *log, size_t first, bool (*is_so)(const struct log *, size_t), size_t want,
		     uint64_t *random, size_t *cuts)
{
	size_t *all = calloc(log->nr_entries + 1, sizeof(*all));
	size_t i, n = 0;

	if (!all)
		err(1, "cuts");
	for (i = first; i < log->nr_entries; i++)
		if (is_so(log, i))
			all[n++] = i;
	if (want > n)
		want = n;
	for (i = 0; i < want; i++) {
		size_t from = i * n / want, to = (i + 1) * n / want;

		cuts[i] = all[from + random_below(random, to - from)];
	}
	free(all);
	return want;
}

static int ascending(const void *a, const void *b)
{
	size_t x = *(const size_t *)a, y = *(const size_t *)b;

	return x < y ? -1 : x > y;
}

size_t *cuts_choose(const struct log *log, size_t first, uint64_t seed, size_t *nr)
{
	size_t *cuts = calloc(*nr + *nr / 4 + 1, sizeof(*cuts));
	uint64_t random;
	size_t n;

	if (!cuts)
		err(1, "cuts");
	random_seed(&random, seed);
	n = choose(log, first, is_last_before_flush, *nr / 2, &random, cuts);
	n += choose(log, first, is_further_before, *nr - n, &random, cuts + n);
	n += choose(log, first, is_not_plain, *nr / 4, &random, cuts + n);
	qsort(cuts, n, sizeof(*cuts), ascending);
	*nr = n;
	return cuts;
}

bool cut_has_subsets(const struct log *log, size_t cut)
{
	return is_plain(log, cut);
}

static void add_units(struct state *st, const struct entry *e, unsigned int eighths, unsigned int unit,
		      uint64_t *random)
{
	uint64_t i, nr;

	for (i = 0; i < e->nr_sectors; i += nr) {
		nr = unit - (e->sector + i) % unit;
		if (nr > e->nr_sectors - i)
			nr = e->nr_sectors - i;
		if (random_below(random, 8) < eighths)
			state_add(st, e, i, nr);
	}
}

void cut_build(struct state *st, size_t cut, unsigned int variant, uint64_t seed, unsigned int unit)
{
	/* Chance in eighths that a unit survives; 0: whole writes do or do not. */
	static const unsigned int eighths[] = { 4, 0, 7, 1 };
	unsigned int kind = eighths[(variant - 1) % 4];
	size_t i = log_segment_start(st->log, cut);
	uint64_t random;

	random_seed(&random, seed + cut * 1000 + variant);
	if (st->log->entries[cut].kind == ENTRY_FLUSH)
		i = cut + 1;
	state_advance(st, i);
	for (; i <= cut; i++) {
		const struct entry *e = &st->log->entries[i];

		if (!variant || e->kind == ENTRY_FUA)
			state_add(st, e, 0, e->nr_sectors);
		else if (kind)
			add_units(st, e, kind, unit, &random);
		else if (random_below(&random, 2))
			state_add(st, e, 0, e->nr_sectors);
	}
}
