/* SPDX-License-Identifier: MIT */
/*
 * Preparing more than was asked for, where it is likely to be asked for next: a barrier costs the
 * same for one block as for thousands. Nothing here is needed for safety. A block that was backed
 * up and is then not overwritten costs its copy; a free one that was taken and is not written costs
 * a place for a backup. So all keep to a small share of what is free.
 *
 * A sequential writer has the blocks behind his request backed up (or taken, where they are free)
 * in a window that doubles each time. For a random one it is the rest of a small group of blocks,
 * once part of the group was overwritten; or, where he writes on free blocks, the free ones around.
 */
#include "base/bytes.h"
#include "operations/engine.h"

#define WINDOW_FIRST_BLK 32u
#define WINDOW_MOST_BLK 4096u	    /* 16 MiB to back up */
#define WINDOW_MOST_FREE_BLK 16384u /* 64 MiB to take: no copy, so that only its blocks cost */
#define IN_FLIGHT 4u	  /* requests of a sequential writer that may overtake each other */
#define IN_FLIGHT_BIG 16u /* the same, if they are larger than a group: chance does not do that */
#define GROUP_BLK 16u
#define GROUP_SAVED 2u	/* so many overwritten blocks make the rest of a group likely to follow */
#define REGION_BLK 256u /* free blocks around a scattered write: 1 MiB */
#define REGION_TAKEN 4u /* so many written ones make it likely that more of a region follow */

/* How much may be backed up ahead: a 64th of what is free; in the tail, a window. */
static uint64_t budget(const struct bowimg *img)
{
	if (img->sb.flags & BOW_SUPER_STORE_TAIL)
		return WINDOW_MOST_BLK;
	return bow_min(WINDOW_MOST_BLK, img->alloc.free_blk / 64);
}

/* How much may be taken ahead. */
static uint64_t budget_free(const struct bowimg *img)
{
	return bow_min(WINDOW_MOST_FREE_BLK, img->alloc.free_blk / 16);
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
	if (!n || zero || bow_op_overlaps(img, end, n) || bow_blocks_reserve(&img->blocks, end, n))
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

/* The rest of the group that the request lies in. */
static uint64_t widen_group(struct bowimg *img, struct bow_op *op)
{
	uint64_t end = op->core + op->core_count;
	uint64_t from = op->core / GROUP_BLK * GROUP_BLK;
	uint64_t to = bow_min(bow_div_up(end, GROUP_BLK) * GROUP_BLK, img->blocks.count);

	/* Block 0 is never backed up again, and belongs to whoever writes it. */
	from = bow_max(from, 1);
	if (op->core == 0 || op->core_count > GROUP_BLK / 2 || to - from > budget(img) ||
	    bow_bitmap_count_range(img->blocks.taken, from, to - from) < GROUP_SAVED ||
	    bow_op_overlaps(img, from, op->core - from) || bow_op_overlaps(img, end, to - end) ||
	    bow_blocks_reserve(&img->blocks, from, to - from))
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

/* An entry for each FREE run of [from, end), `most` blocks together; returns how many. */
static uint64_t take_runs(struct bowimg *img, struct bow_op *op, uint64_t from, uint64_t end,
			  uint64_t most)
{
	enum bow_block_state state;
	uint64_t run, left = most;
	bool zero;

	for (; from < end && left; from += run) {
		run = bow_min(bow_blocks_run(&img->blocks, from, end - from, &state, &zero), left);
		if (state != BOW_FREE)
			continue;
		bow_op_take(img, op, from, run);
		left -= run;
	}
	return most - left;
}

/* Has the guest written here and there in the region, so that more of it is likely to follow? */
static bool is_scattered(const struct bowimg *img, const struct bow_op *op, uint64_t from,
			 uint64_t to)
{
	return op->n == 1 && op->core_count <= REGION_BLK / 4 &&
	       op->entries[0].source_blk == op->core &&
	       takes_up_to(op, op->core + op->core_count) &&
	       bow_bitmap_count_range(img->blocks.taken, from, to - from) >=
		       REGION_TAKEN + op->core_count;
}

/*
 * The free blocks around a small request on free ones, as far as only the file system's lie
 * between. Guests fill what they begin, so that most are written soon; for a guest that does not,
 * all that is taken in this way is rationed.
 */
static void widen_region(struct bowimg *img, struct bow_op *op)
{
	uint64_t end = op->core + op->core_count, most, before, behind;
	uint64_t from = bow_max(1, op->core / REGION_BLK * REGION_BLK);
	uint64_t to = bow_min(bow_div_up(end, REGION_BLK) * REGION_BLK, img->blocks.count);

	most = bow_min(budget_free(img), img->region_left_blk);
	if (!most || op->core == 0 || !is_scattered(img, op, from, to))
		return;
	before = open_before(img, from, op->core);
	behind = open_behind(img, end, to);
	if (bow_op_overlaps(img, op->core - before, before) || bow_op_overlaps(img, end, behind) ||
	    bow_blocks_reserve(&img->blocks, op->core - before, before + op->core_count + behind))
		return;
	img->region_left_blk -= take_runs(img, op, op->core - before, end + behind, most);
	op->first = op->taken = op->core - before;
	op->count = op->taken_count = before + op->core_count + behind;
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
