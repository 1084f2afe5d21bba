/* SPDX-License-Identifier: MIT */
/*
 * How many blocks may be prepared ahead (ahead.c) before the guest writes the earlier ones. `ahead`
 * has those that were prepared and not written. Backups and TAKEs have a share each: a guest that
 * writes here and there in free space must not make its overwrites slow, nor the other way round.
 *
 * What was taken and not written can be given back (give.c), so a guest that writes all over its
 * free space may be given nearly all of it. When backups need more than is left, what was taken is
 * given back until it is no more than what is FREE, and keeps to that until the guest has come to
 * free blocks many times again: so giving back and taking again costs less than that did.
 *
 * Only this process knows what was not written. A process that is killed would leave all of that to
 * the guest for good, so it must be found again: in a file whose free space was holes, LIVE blocks
 * that are holes still were not written. Elsewhere not more than an eighth is taken.
 */
#include "lib/base/bytes.h"
#include "lib/engine/engine.h"

#define SHARE 8u	 /* one free block in so many, for each of the two */
#define KEPT_SHARE 1024u /* left FREE, whatever is taken: one in so many */
#define KEPT_BLK 512u	 /* ... but no less than this */
#define SHARED_TAKES \
	64u	   /* small requests for free blocks after which they are given widely again */
#define CROWDED 4u /* too much was taken when it is so many times what is FREE */
#define GIVE_STEP_BLK 4096u
#define PROBES 8u /* free runs that are looked at for holes */

/* When blocks are given back (give.c). */
#define FLUSH_BLK 1024u	  /* emptied blocks that are given back at a flush */
#define FLUSH_SHARE 8u	  /* ... if they are one in so many of the FREE ones */
#define DEMAND_BLK 16u	  /* ... before space runs out */
#define DETACH_BLK 64u	  /* ... at a clean end */
#define SMALL_SHARE 64u	  /* on a small image less counts: one free block in so many */
#define LOG_SHARE 16u	  /* no more once the log is longer than this share of them */
#define LOG_LEAST_BLK 64u /* ... but than so many blocks */

void bow_share_note(struct bow_engine *img, uint64_t start, uint64_t n)
{
	img->ahead_saved += n - bow_bitmap_count_range(img->blocks.free, start, n);
	bow_bitmap_set(img->ahead, start, n);
}

/* Returns how many of the range were backed up ahead. */
static uint64_t saved_in(const struct bow_engine *img, uint64_t start, uint64_t n)
{
	uint64_t end = start + n, saved = 0, k;

	for (; bow_bitmap_next_run(img->ahead, &start, &k, end); start += k)
		saved += k - bow_bitmap_count_range(img->blocks.free, start, k);
	return saved;
}

void bow_share_forget(struct bow_engine *img, uint64_t start, uint64_t n)
{
	if (!bow_bitmap_count(img->ahead))
		return;
	img->ahead_saved -= saved_in(img, start, n);
	bow_bitmap_clear(img->ahead, start, n);
}

uint64_t bow_share_taken(const struct bow_engine *img)
{
	return bow_bitmap_count(img->ahead) - img->ahead_saved;
}

static uint64_t left(const struct bow_engine *img, uint64_t used)
{
	uint64_t share = img->sb.free_total_blk / SHARE;

	return share - bow_min(share, used);
}

/* Returns how many blocks are FREE, and not promised to backups. */
static uint64_t unpromised(const struct bow_engine *img)
{
	return img->alloc.free_blk - bow_min(img->alloc.free_blk, img->dests_reserved);
}

/* A 64th of the blocks that are free, or can be; in the tail, a window. */
uint64_t bow_share_to_back_up(const struct bow_engine *img)
{
	uint64_t most = bow_min(BOW_WINDOW_BLK, img->alloc.free_blk / 4);

	if (img->sb.flags & BOW_SUPER_STORE_TAIL)
		return BOW_WINDOW_BLK;
	most = bow_min(most, (img->alloc.free_blk + bow_share_taken(img)) / 64);
	return bow_min(most, left(img, img->ahead_saved));
}

static bool log_is_long(const struct bow_engine *img)
{
	return img->log_blk > bow_max(img->sb.free_total_blk / LOG_SHARE, LOG_LEAST_BLK);
}

/* All but what the log, and giving it back, may need. */
static uint64_t to_take_widely(const struct bow_engine *img)
{
	uint64_t total = img->sb.free_total_blk, taken = bow_share_taken(img);
	uint64_t kept = bow_max(total / KEPT_SHARE, bow_min(total / SHARE, KEPT_BLK));
	uint64_t most = unpromised(img);

	most -= bow_min(most, kept);
	if (img->ahead_shared && img->small_takes < SHARED_TAKES)
		most = bow_min(most, (unpromised(img) - bow_min(unpromised(img), taken)) / 2);
	return most;
}

uint64_t bow_share_to_take(const struct bow_engine *img)
{
	if (img->ahead_wide && !log_is_long(img))
		return to_take_widely(img);
	return bow_min(bow_min(BOW_WINDOW_FREE_BLK, img->alloc.free_blk / 16),
		       left(img, bow_share_taken(img)));
}

/* ---- giving back ------------------------------------------------------------------ */

/* Was more taken than there may be where it cannot be given back? */
static bool is_wide(const struct bow_engine *img)
{
	return img->ahead_wide && !left(img, bow_share_taken(img));
}

static uint64_t at_least(const struct bow_engine *img, uint64_t blk)
{
	return bow_max(1, bow_min(blk, img->sb.free_total_blk / SMALL_SHARE));
}

bool bow_share_give_worth(const struct bow_engine *img, enum bow_give_when when)
{
	uint64_t n = bow_bitmap_count(img->emptied);

	if (img->sb.flags & BOW_SUPER_STORE_TAIL || img->failed)
		return false;
	/* Nothing but what was taken widely while the log was shorter. */
	if (log_is_long(img))
		return when != BOW_GIVE_AT_FLUSH && is_wide(img);
	switch (when) {
	case BOW_GIVE_AT_FLUSH:
		return n >= at_least(img, FLUSH_BLK) &&
		       n >= (img->alloc.free_blk + bow_share_taken(img)) / FLUSH_SHARE;
	case BOW_GIVE_AT_DETACH:
		n += img->ahead_wide ? bow_share_taken(img) : 0;
		return n >= at_least(img, DETACH_BLK);
	case BOW_GIVE_SHARE:
	case BOW_GIVE_ON_DEMAND:
		break;
	}
	/* What was taken ahead and never written has no content, either. */
	return n + bow_share_taken(img) >= at_least(img, DEMAND_BLK);
}

bool bow_share_in_the_way(const struct bow_engine *img)
{
	return bow_share_taken(img) / CROWDED > unpromised(img) &&
	       bow_share_give_worth(img, BOW_GIVE_SHARE);
}

void bow_share_begin(struct bow_engine *img)
{
	img->ahead_shared = true;
	img->small_takes = 0;
}

/* From the image's end, where backups go first. */
uint64_t bow_share_give_from(const struct bow_engine *img)
{
	uint64_t from = img->blocks.count, n, give = 0;
	uint64_t want = (bow_share_taken(img) - bow_min(bow_share_taken(img), unpromised(img))) / 2;

	for (; from && give < want; from -= n) {
		n = bow_min(from, GIVE_STEP_BLK);
		give += bow_bitmap_count_range(img->ahead, from - n, n) -
			saved_in(img, from - n, n);
	}
	return from;
}

/* ---- after a crash --------------------------------------------------------------- */

static bool free_space_has_holes(const struct bow_engine *img)
{
	uint64_t start = 0, n;
	bool hole = false;

	for (unsigned i = 0; i < PROBES && !hole; i++, start += n) {
		if (!bow_blocks_next_free(&img->blocks, &start, &n, img->blocks.count,
					  img->blocks.count))
			break;
		bow_hole_run(img->dev, start + n / 2, 1, &hole);
	}
	return hole;
}

/* Where a hole is found, what is FREE need not have one: perhaps nearly nothing is left of it. */
static void find_unwritten(struct bow_engine *img)
{
	uint64_t start = 0, n;

	for (; bow_unwritten_next(img->dev, &img->sb, &img->blocks, &start, &n); start += n) {
		img->ahead_wide |= !bow_bitmap_test(img->blocks.zero_pending, start);
		if (!bow_bitmap_reserve(img->ahead, start, n))
			bow_share_note(img, start, n);
	}
}

void bow_share_open(struct bow_engine *img, bool was_clean)
{
	if (!bow_unwritten_shows(img->dev, &img->sb))
		return;
	img->ahead_wide = free_space_has_holes(img);
	if (!was_clean)
		find_unwritten(img);
}
