/* SPDX-License-Identifier: MIT */
/* Asking the index of backups, which backup_index.c collects, where an original is. */
#include "lib/base/bytes.h"
#include "lib/log/log.h"

/* Returns where the entry begins; no two entries begin at the same block. */
static uint64_t first_of(const struct bow_backup_place *run)
{
	return run->source_blk - run->skip_blk;
}

uint64_t bow_backup_index_follow(const struct bow_backup_index *o, uint64_t n, uint64_t *at)
{
	uint64_t now = 0;
	bool found = o->moved;

	while (found) {
		n = bow_rangemap_get(o->moved, *at, n, &now, &found);
		if (found)
			*at = now;
	}
	return n;
}

/* Returns the last run that begins at or before blk, or NULL; the next one begins at *after. */
static struct bow_backup_place *find(const struct bow_backup_index_level *level, uint64_t blk,
				     uint64_t *after)
{
	size_t lo = 0, hi = level->n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (level->runs[mid].source_blk <= blk)
			lo = mid + 1;
		else
			hi = mid;
	}
	*after = lo < level->n ? level->runs[lo].source_blk : UINT64_MAX;
	return lo ? &level->runs[lo - 1] : NULL;
}

/* Returns the run that contains blk, or NULL; cuts *n to where the answer changes. */
static struct bow_backup_place *run_at(const struct bow_backup_index *o, uint64_t blk, uint64_t *n)
{
	uint64_t after;

	for (unsigned i = 0; i < o->levels; i++) {
		struct bow_backup_place *run = find(&o->level[i], blk, &after);

		if (run && blk - run->source_blk < run->count_blk) {
			*n = bow_min(*n, run->source_blk + run->count_blk - blk);
			return run;
		}
		*n = bow_min(*n, after - blk);
	}
	return NULL;
}

uint64_t bow_backup_index_get(const struct bow_backup_index *o, uint64_t blk, uint64_t n,
			      enum bow_backup_kind *kind, uint64_t *at)
{
	const struct bow_backup_place *run = run_at(o, blk, &n);

	*kind = BOW_BACKUP_NONE;
	if (run)
		*kind = run->at_blk == BOW_NO_BLK ? BOW_BACKUP_ZEROS : BOW_BACKUP_AT;
	if (*kind != BOW_BACKUP_AT)
		return n;
	*at = run->at_blk + (blk - run->source_blk);
	return bow_backup_index_follow(o, n, at);
}

uint64_t bow_backup_index_oldest(const struct bow_backup_index *o, uint32_t epochs, uint64_t blk,
				 uint64_t n, enum bow_backup_kind *kind, uint64_t *at,
				 const struct bow_backup_index **in)
{
	*in = NULL;
	*kind = BOW_BACKUP_NONE;
	for (; epochs && *kind == BOW_BACKUP_NONE; o++, epochs--) {
		n = bow_backup_index_get(o, blk, n, kind, at);
		*in = *kind == BOW_BACKUP_NONE ? NULL : o;
	}
	return n;
}

bool bow_backup_index_unchecked(const struct bow_backup_index *o, uint64_t blk,
				struct bow_backup *b)
{
	uint64_t n = 1;
	const struct bow_backup_place *run = run_at(o, blk, &n);

	if (!run || run->at_blk == BOW_NO_BLK || atomic_load(&run->checked))
		return false;
	*b = (struct bow_backup){.source_blk = first_of(run),
				 .hash = run->hash,
				 .from_blk = run->at_blk,
				 .count_blk = run->entry_blk};
	return true;
}

void bow_backup_index_checked(const struct bow_backup_index *o, const struct bow_backup *b)
{
	uint64_t end = b->source_blk + b->count_blk, n;

	for (uint64_t blk = b->source_blk; blk < end; blk += n) {
		struct bow_backup_place *run;

		n = end - blk;
		run = run_at(o, blk, &n);
		if (run)
			atomic_store(&run->checked, true);
	}
}
