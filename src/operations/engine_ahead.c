/* SPDX-License-Identifier: MIT */
/*
 * Preparing more than was asked for, where it is likely to be asked for next: a barrier costs the
 * same for one block as for thousands. Nothing here is needed for safety; a block that was backed
 * up and is then not overwritten costs its copy, no more.
 *
 * A sequential writer has the blocks behind his request backed up (or taken, where they are free)
 * in a window that doubles each time. For a random one it is the rest of a small group of blocks,
 * once part of the group was overwritten. Both keep to a small share of what is free.
 */
#include "base/bytes.h"
#include "operations/engine.h"

#define WINDOW_FIRST_BLK 32u
#define WINDOW_MOST_BLK 4096u /* 16 MiB */
#define IN_FLIGHT 4u	      /* requests of a sequential writer that may overtake each other */
#define GROUP_BLK 16u
#define GROUP_SAVED 2u /* so many overwritten blocks make the rest of a group likely to follow */

/* How much may be prepared ahead: a 64th of what is free; in the tail, a window. */
static uint64_t budget(const struct bowimg *img)
{
	if (img->sb.flags & BOW_SUPER_STORE_TAIL)
		return WINDOW_MOST_BLK;
	return bow_min(WINDOW_MOST_BLK, img->alloc.free_blk / 64);
}

/*
 * The stream that this request continues, with the window it has earned; 0 for a new one. Requests
 * of one writer that are in flight together arrive in any order, so a few of their lengths either
 * way count as continuing.
 */
static struct bow_stream *find_stream(struct bowimg *img, const struct bow_op *op, uint64_t *window)
{
	uint64_t slack = IN_FLIGHT * op->core_count;

	for (unsigned i = 0; i < BOW_STREAMS; i++) {
		struct bow_stream *s = &img->streams[i];

		if (s->next_blk && op->core <= s->next_blk + slack &&
		    s->next_blk <= op->core + slack) {
			*window = bow_max(2 * s->window_blk, WINDOW_FIRST_BLK);
			*window = bow_min(*window, budget(img));
			return s;
		}
	}
	*window = 0;
	return &img->streams[img->next_stream++ % BOW_STREAMS];
}

/* FREE blocks behind a request that ends with FREE ones become part of its last TAKE. */
static void take_behind(struct bowimg *img, struct bow_op *op, uint64_t end, uint64_t n)
{
	struct bow_entry *last = op->n ? &op->entries[op->n - 1] : NULL;

	if (!last || last->source_blk + last->count_blk != end)
		return;
	bow_alloc_take(&img->alloc, end, n);
	last->count_blk += (uint32_t)n;
	op->count += n;
	op->taken_behind = n;
}

/* What lies behind the request, if it is all of one kind; returns the backups it needs. */
static uint64_t widen_stream(struct bowimg *img, struct bow_op *op)
{
	uint64_t end = op->core + op->core_count, n, window, dests = 0;
	struct bow_stream *s = find_stream(img, op, &window);
	enum bow_block_state state;
	bool zero;

	n = end < img->blocks.count ? bow_min(window, img->blocks.count - end) : 0;
	if (n) {
		n = bow_blocks_run(&img->blocks, end, n, &state, &zero);
		if (!zero && !bow_op_overlaps(img, end, n) &&
		    !bow_blocks_reserve(&img->blocks, end, n)) {
			if (state == BOW_FREE) {
				take_behind(img, op, end, n);
			} else if (state == BOW_ORIGINAL) {
				op->count += n;
				dests = n;
			}
		}
	}
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

uint64_t bow_op_widen(struct bowimg *img, struct bow_op *op)
{
	uint64_t dests = widen_stream(img, op);

	return op->count == op->core_count ? widen_group(img, op) : dests;
}
