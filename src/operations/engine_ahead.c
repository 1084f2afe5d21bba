/* SPDX-License-Identifier: MIT */
/*
 * Preparing more than was asked for, where it is likely to be asked for next: a barrier costs the
 * same for one block as for thousands. Nothing here is needed for safety. A block that was backed
 * up and is then not overwritten costs its copy; a free one that was taken and is not written costs
 * a place for a backup. So all keep to a small share of what is free: `ahead` has the blocks that
 * were prepared and not written yet; in the image there are never more than an eighth of the free.
 *
 * A sequential writer has the blocks behind his request backed up (or taken, where they are free)
 * in a window that doubles each time. For a random one it is the rest of a group of blocks, once
 * part of the group was overwritten; or, where he writes on free blocks, the free ones around.
 */
#include "base/bytes.h"
#include "operations/engine.h"

#define WINDOW_FIRST_BLK 32u
#define WINDOW_MOST_BLK 4096u	    /* 16 MiB to back up */
#define WINDOW_MOST_FREE_BLK 16384u /* 64 MiB to take: no copy, so that only its blocks cost */
#define IN_FLIGHT 4u	  /* requests of a sequential writer that may overtake each other */
#define IN_FLIGHT_BIG 16u /* the same, if they are larger than a group: chance does not do that */
#define GROUP_BLK 16u
#define GROUP_WRITTEN 2u   /* so many overwritten blocks make the rest of one likely to follow, */
#define REGION_WRITTEN 16u /* so many that of a region */
#define REGION_BLK 256u	   /* free blocks around a scattered write: 1 MiB, */
#define REGION_SIZES 5u	   /* or 2, 4, 8, 16 */
#define REGION_PLACES 4u   /* so many written places make it likely that more of 1 MiB follow, */
#define REGION_MORE 2u	   /* so many more that of a region of the next size do */
#define REGION_ENTRIES 64u /* runs taken at a time */
#define AHEAD_SHARE 8u /* as many as one free block in so many may be prepared and not written */

/* How many more blocks may be prepared by a guest that has written most of what was. */
static uint64_t share_left(const struct bowimg *img)
{
	uint64_t share = img->sb.free_total_blk / AHEAD_SHARE;

	return share - bow_min(share, bow_bitmap_count(img->ahead));
}

/* How much may be backed up ahead at a time: a 64th of what is free; in the tail, a window. */
static uint64_t budget(const struct bowimg *img)
{
	if (img->sb.flags & BOW_SUPER_STORE_TAIL)
		return WINDOW_MOST_BLK;
	return bow_min(bow_min(WINDOW_MOST_BLK, img->alloc.free_blk / 64), share_left(img));
}

/* How much may be taken ahead. */
static uint64_t budget_free(const struct bowimg *img)
{
	return bow_min(bow_min(WINDOW_MOST_FREE_BLK, img->alloc.free_blk / 16), share_left(img));
}

/* So that what follows cannot fail. */
static int reserve(struct bowimg *img, uint64_t start, uint64_t n)
{
	int rc = bow_blocks_reserve(&img->blocks, start, n);

	return rc ? rc : bow_bitmap_reserve(img->ahead, start, n);
}

/*
 * The stream that this request continues, with the window it has earned; 0 for a new one. Requests
 * of one writer that are in flight together arrive in any order, so a few of their lengths either
 * way count as continuing.
 */
static struct bow_stream *find_stream(struct bowimg *img, const struct bow_op *op, uint64_t *window)
{
	uint64_t slack = op->core_count * (op->core_count >= GROUP_BLK ? IN_FLIGHT_BIG : IN_FLIGHT);

	for (unsigned i = 0; i < BOW_STREAMS; i++) {
		struct bow_stream *s = &img->streams[i];

		if (s->next_blk && op->core <= s->next_blk + slack &&
		    s->next_blk <= op->core + slack) {
			*window = bow_max(2 * s->window_blk, WINDOW_FIRST_BLK);
			*window = bow_min(*window, WINDOW_MOST_FREE_BLK);
			return s;
		}
	}
	*window = 0;
	return &img->streams[img->next_stream++ % BOW_STREAMS];
}

/* FREE blocks behind those that the op's last entry takes become part of it. */
static void take_behind(struct bowimg *img, struct bow_op *op, uint64_t end, uint64_t n)
{
	bow_alloc_take(&img->alloc, end, n);
	bow_bitmap_set(img->ahead, end, n);
	op->entries[op->n - 1].count_blk += (uint32_t)n;
	op->count += n;
	op->taken_count += n;
}

/* Does the op's last entry take the blocks right up to `end`? */
static bool takes_up_to(const struct bow_op *op, uint64_t end)
{
	const struct bow_entry *last = op->n ? &op->entries[op->n - 1] : NULL;

	return last && last->source_blk + last->count_blk == end;
}

/* What lies behind the request, if it is all of one kind; returns the backups it needs. */
static uint64_t widen_behind(struct bowimg *img, struct bow_op *op, uint64_t window)
{
	uint64_t end = op->core + op->core_count, n = 0;
	enum bow_block_state state = BOW_LIVE;
	bool zero = true;

	if (window && end < img->blocks.count)
		n = bow_blocks_run(&img->blocks, end, bow_min(window, img->blocks.count - end),
				   &state, &zero);
	n = bow_min(n, state == BOW_FREE ? budget_free(img) : budget(img));
	if (!n || zero || bow_op_overlaps(img, end, n) || reserve(img, end, n))
		return 0;
	if (state == BOW_FREE && takes_up_to(op, end))
		take_behind(img, op, end, n);
	if (state != BOW_ORIGINAL)
		return 0;
	op->count += n;
	return n;
}

static uint64_t widen_stream(struct bowimg *img, struct bow_op *op)
{
	uint64_t window;
	struct bow_stream *s = find_stream(img, op, &window);
	uint64_t dests = widen_behind(img, op, window);

	if (!window)
		s->next_blk = 0;
	s->next_blk = bow_max(s->next_blk, op->first + op->count);
	s->window_blk = window;
	return dests;
}

static uint64_t originals_in(const struct bowimg *img, uint64_t from, uint64_t end)
{
	enum bow_block_state state;
	uint64_t run, n = 0;
	bool zero;

	for (; from < end; from += run) {
		run = bow_blocks_run(&img->blocks, from, end - from, &state, &zero);
		if (state == BOW_ORIGINAL && !zero)
			n += run;
	}
	return n;
}

/* Does the op only take blocks, so that each of its own is LIVE by now? */
static bool only_takes(const struct bow_op *op)
{
	return op->n && !op->n_dests && !op->dests_left && !op->block0;
}

/*
 * Cut what lies around the request to what no other holds. To take blocks, those that only take may
 * lie inside: their blocks are in their own entries, and nothing else about them is going to
 * change.
 */
static void keep_clear(const struct bowimg *img, const struct bow_op *op, bool to_take,
		       uint64_t *from, uint64_t *to)
{
	for (unsigned i = 0; i < BOW_OPS; i++) {
		const struct bow_op *other = &img->ops[i];

		if (!other->active || other == op || (to_take && only_takes(other)))
			continue;
		if (other->first < op->core)
			*from = bow_max(*from, other->first + other->count);
		else
			*to = bow_min(*to, other->first);
	}
}

/* The request's blocks, extended to whole multiples of `blk`; never block 0. */
static void align_around(const struct bowimg *img, const struct bow_op *op, uint64_t blk,
			 uint64_t *from, uint64_t *to)
{
	uint64_t end = bow_div_up(op->core + op->core_count, blk) * blk;

	*from = bow_max(1, op->core / blk * blk);
	*to = bow_min(end, img->blocks.count);
}

/* How many blocks of the range were overwritten by the guest itself. */
static uint64_t written_in(const struct bowimg *img, uint64_t from, uint64_t to)
{
	return bow_bitmap_count_range(img->blocks.taken, from, to - from) -
	       bow_bitmap_count_range(img->ahead, from, to - from);
}

/* The largest group around a small request of which the guest has overwritten enough. */
static bool find_group(const struct bowimg *img, const struct bow_op *op, uint64_t *from,
		       uint64_t *to)
{
	static const struct {
		unsigned blk, written;
	} groups[] = {{REGION_BLK, REGION_WRITTEN}, {GROUP_BLK, GROUP_WRITTEN}};
	uint64_t most = budget(img);

	/* Block 0 is never backed up again, and belongs to whoever writes it. */
	for (unsigned i = 0; i < 2 && op->core && op->core_count <= GROUP_BLK / 2; i++) {
		align_around(img, op, groups[i].blk, from, to);
		if (*to - *from <= most && written_in(img, *from, *to) >= groups[i].written)
			return true;
	}
	return false;
}

/* The rest of the group that the request lies in. */
static uint64_t widen_group(struct bowimg *img, struct bow_op *op)
{
	uint64_t end = op->core + op->core_count, from, to;

	if (!find_group(img, op, &from, &to))
		return 0;
	keep_clear(img, op, false, &from, &to);
	if (reserve(img, from, to - from))
		return 0;
	op->first = from;
	op->count = to - from;
	return originals_in(img, from, op->core) + originals_in(img, end, to);
}

static bool is_open(enum bow_block_state state, bool zero)
{
	return (state == BOW_FREE || state == BOW_LIVE) && !zero;
}

/* How many blocks of [from, end) right before `end` are the file system's or free for it. */
static uint64_t open_before(const struct bowimg *img, uint64_t from, uint64_t end)
{
	enum bow_block_state state;
	uint64_t run, n = 0;
	bool zero;

	for (; from < end; from += run) {
		run = bow_blocks_run(&img->blocks, from, end - from, &state, &zero);
		n = is_open(state, zero) ? n + run : 0;
	}
	return n;
}

/* The same from `from` on. */
static uint64_t open_behind(const struct bowimg *img, uint64_t from, uint64_t end)
{
	enum bow_block_state state = BOW_FREE;
	uint64_t run, blk = from;
	bool zero = false;

	for (; blk < end && is_open(state, zero); blk += run) {
		run = bow_blocks_run(&img->blocks, blk, end - blk, &state, &zero);
		run = is_open(state, zero) ? run : 0;
	}
	return blk - from;
}

/* An entry for each FREE run of [from, end); returns where it came to. */
static uint64_t take_runs(struct bowimg *img, struct bow_op *op, uint64_t from, uint64_t end)
{
	enum bow_block_state state;
	uint64_t run;
	bool zero;

	for (; from < end && op->n < REGION_ENTRIES; from += run) {
		run = bow_blocks_run(&img->blocks, from, end - from, &state, &zero);
		if (state != BOW_FREE)
			continue;
		bow_op_take(img, op, from, run);
		bow_bitmap_set(img->ahead, from, run);
	}
	return from;
}

/* Are there `places` runs of blocks in the region that were free and are the guest's now? */
static bool has_places(const struct bowimg *img, uint64_t from, uint64_t to, unsigned places)
{
	uint64_t n = 0;

	for (; places && bow_bitmap_next_run(img->blocks.taken, &from, &n, to); from += n)
		if (bow_bitmap_test(img->blocks.free, from))
			places--;
	return !places;
}

/*
 * The largest region around the request that the guest has written to here and there, so that more
 * of it is likely to follow. False if there is none.
 */
static bool find_region(const struct bowimg *img, const struct bow_op *op, uint64_t *from,
			uint64_t *to)
{
	uint64_t most = budget_free(img);

	for (unsigned i = REGION_SIZES; i-- > 0;) {
		align_around(img, op, (uint64_t)REGION_BLK << i, from, to);
		if (*to - *from <= most &&
		    has_places(img, *from, *to, 1 + REGION_PLACES + REGION_MORE * i))
			return true;
	}
	return false;
}

/* A small request on free blocks, for which nothing else was taken? */
static bool is_small_take(const struct bow_op *op)
{
	return op->n == 1 && op->core && op->core_count <= REGION_BLK / 4 &&
	       op->entries[0].source_blk == op->core && takes_up_to(op, op->core + op->core_count);
}

/*
 * The free blocks around a small request on free ones, as far as only the file system's lie
 * between. Guests fill what they begin, so that most are written soon.
 */
static void widen_region(struct bowimg *img, struct bow_op *op)
{
	uint64_t end = op->core + op->core_count, from, to;

	if (!is_small_take(op) || !find_region(img, op, &from, &to))
		return;
	keep_clear(img, op, true, &from, &to);
	from = op->core - open_before(img, from, op->core);
	to = end + open_behind(img, end, to);
	if (reserve(img, from, to - from))
		return;
	to = bow_max(end, take_runs(img, op, from, to));
	op->first = op->taken = from;
	op->count = op->taken_count = to - from;
}

uint64_t bow_op_widen(struct bowimg *img, struct bow_op *op)
{
	uint64_t dests = widen_stream(img, op);

	if (op->count == op->core_count)
		dests = widen_group(img, op);
	if (op->count == op->core_count)
		widen_region(img, op);
	return dests;
}
